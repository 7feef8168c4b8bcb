/** Hosts of which nobody could say where their mail goes: each is left alone for a while, as a smarthost that is away. */
import type { Verdict } from "../core/filter.ts";
import type { Agenda } from "./agenda.ts";

/** No address or account begins so. */
const HOST = "\0\0";

/** What an instance knows of lookups; it outlives the runs. */
export class Lookups {
  readonly #agenda: Agenda;
  /** False until one has failed: then nothing is kept of them. */
  #failed = false;

  constructor(agenda: Agenda) {
    this.#agenda = agenda;
  }

  /** What was said when it was asked where mail for there goes (X-MailRelay-ForwardTo). */
  heard(forwardTo: string, verdict: Verdict): void {
    if (verdict.kind === "abandon") return;
    if (verdict.kind === "reject" && verdict.temporary === true) {
      this.#failed = true;
      this.#agenda.pause(keyOf(forwardTo), verdict.detail);
    } else if (this.#failed) {
      this.#agenda.resume(keyOf(forwardTo));
    }
  }

  /** Why nothing is asked about a host at the moment, and for how many more milliseconds; null when it may be. */
  pauseOf(forwardTo: string): { readonly why: string; readonly ms: number } | null {
    return this.#failed ? this.#agenda.pausedFor(keyOf(forwardTo)) : null;
  }
}

/** However it is written, in whatever mailbox of it. */
function keyOf(forwardTo: string): string {
  return HOST + forwardTo.slice(forwardTo.lastIndexOf("@") + 1).toLowerCase();
}
