/** Hosts of which nobody could say where their mail goes: they are left alone for a while, and after a few in a row all are. */
import type { Verdict } from "../core/filter.ts";
import type { Agenda } from "./agenda.ts";

/** So many hosts in a row of which nobody can say anything, and there is nobody to be asked. */
const FEW = 3;
/** Of so many the names are kept. */
const MOST_FAILING = 1000;
/** No address or account begins so. */
const ALL = "\0\0";

/** What an instance knows of lookups; it outlives the runs. */
export class Lookups {
  readonly #agenda: Agenda;
  /** Those that could not be found out about when they were asked about last. */
  readonly #failing = new Set<string>();
  /** Those of them that nothing was found out behind. */
  readonly #row = new Set<string>();
  /** True if the last answer failed to come. */
  #fails = false;

  constructor(agenda: Agenda) {
    this.#agenda = agenda;
  }

  /** What was said when a host was asked about. */
  heard(host: string, verdict: Verdict): void {
    if (verdict.kind === "abandon") return;
    if (verdict.kind === "reject" && verdict.temporary === true) this.#failed(host, verdict.detail);
    else if (this.#fails || this.#failing.has(host)) this.#found(host);
  }

  /** Why nothing is asked about a host at the moment, and for how many more milliseconds; null when it may be. */
  pauseOf(host: string): { readonly why: string; readonly ms: number } | null {
    if (host === "" || this.#failing.size === 0) return null;
    const own = this.#agenda.pausedFor(ALL + host);
    const all = this.#agenda.pausedFor(ALL);
    if (own === null || all === null) return own ?? all;
    return { why: own.why, ms: Math.max(own.ms, all.ms) };
  }

  /** When a pass asks: 0 with all other mail, 1 after that, 2 after all that may fare better. */
  placeOf(host: string): 0 | 1 | 2 {
    // What is put off at once holds up nobody.
    if (host === "" || this.pauseOf(host) !== null) return 0;
    if (this.#failing.has(host)) return 2;
    return this.#fails ? 1 : 0;
  }

  #failed(host: string, why: string): void {
    this.#fails = true;
    this.#failing.delete(host);
    this.#failing.add(host);
    const [oldest] = this.#failing;
    if (this.#failing.size > MOST_FAILING && oldest !== undefined) this.#failing.delete(oldest);
    this.#agenda.pause(ALL + host, why);
    this.#row.add(host);
    if (this.#row.size < FEW) return;
    this.#row.clear();
    // What waits for another host's sake is not to be told of that host alone.
    this.#agenda.pause(ALL, `nothing can be looked up: ${why}`);
  }

  #found(host: string): void {
    this.#fails = false;
    this.#failing.delete(host);
    this.#row.clear();
    this.#agenda.resume(ALL + host);
    this.#agenda.resume(ALL);
  }
}
