/** The address verifier of one session: opened at its first question, disposed of when the session is over. */
import { describeError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import {
  acceptAll,
  type RecipientQuery,
  type SessionVerifier,
  type Verification,
} from "../core/verifier.ts";

export class LazyVerifier {
  readonly #open: () => SessionVerifier;
  readonly #journal: Journal;
  /** Aborted with the session: nobody waits for an answer then. null until there was a question that takes time. */
  #end: AbortController | null = null;
  #verifier: SessionVerifier | null = null;
  #waiting = 0;

  constructor(open: () => SessionVerifier, journal: Journal) {
    this.#open = open;
    this.#journal = journal;
  }

  /** At once where everybody is accepted. Never fails: what goes wrong is our trouble, and the client may try again. */
  ask(query: RecipientQuery): Verification | Promise<Verification> {
    try {
      this.#verifier ??= this.#open();
    } catch (error) {
      return cannotVerify(error);
    }
    return this.#verifier === acceptAll
      ? { kind: "remote", address: query.recipient }
      : this.#askLater(this.#verifier, query);
  }

  async #askLater(verifier: SessionVerifier, query: RecipientQuery): Promise<Verification> {
    this.#waiting += 1;
    this.#end ??= new AbortController();
    try {
      return await verifier.verify(query, this.#end.signal);
    } catch (error) {
      return cannotVerify(error);
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Never fails. */
  async close(): Promise<void> {
    if (this.#verifier === null || this.#verifier === acceptAll) return;
    // Not for nothing: making the reason of an abort costs more than the rest of a session's end.
    if (this.#waiting > 0) this.#end?.abort();
    try {
      await this.#verifier[Symbol.asyncDispose]();
    } catch (error) {
      const text = `address verifier: ${describeError(error)}`;
      this.#journal.tell({ kind: "note", level: "warning", detail: false, text });
    }
  }
}

function cannotVerify(error: unknown): Verification {
  const reply = { code: 450, text: "cannot verify" };
  return { kind: "refuse", reply, reason: describeError(error) };
}
