/** The address verifier of one session: opened at its first question, disposed of when the session is over. */
import { describeError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { RecipientQuery, SessionVerifier, Verification } from "../core/verifier.ts";

export class LazyVerifier {
  readonly #open: () => SessionVerifier;
  readonly #journal: Journal;
  /** Aborted with the session: nobody waits for an answer then. */
  readonly #end = new AbortController();
  #verifier: SessionVerifier | null = null;
  #waiting = 0;

  constructor(open: () => SessionVerifier, journal: Journal) {
    this.#open = open;
    this.#journal = journal;
  }

  /** Never fails: what goes wrong is our trouble, and the client may try again. */
  async ask(query: RecipientQuery): Promise<Verification> {
    this.#waiting += 1;
    try {
      this.#verifier ??= this.#open();
      return await this.#verifier.verify(query, this.#end.signal);
    } catch (error) {
      const reply = { code: 450, text: "cannot verify" };
      return { kind: "refuse", reply, reason: describeError(error) };
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Never fails. */
  async close(): Promise<void> {
    // Not for nothing: making the reason of an abort costs more than the rest of a session's end.
    if (this.#waiting > 0) this.#end.abort();
    try {
      await this.#verifier?.[Symbol.asyncDispose]();
    } catch (error) {
      const text = `address verifier: ${describeError(error)}`;
      this.#journal.tell({ kind: "note", level: "warning", detail: false, text });
    }
  }
}
