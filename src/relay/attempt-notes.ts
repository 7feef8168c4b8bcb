/**
 * What attempts have changed about a message, written into its envelope: at once, or, while the spool
 * cannot be written to, before its next attempt. Whoever has got a message is not sent it again.
 */
import type { Envelope } from "../core/envelope.ts";
import { RelayError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Lease } from "../core/store.ts";

export class AttemptNotes {
  readonly #journal: Journal;
  readonly #unwritten = new Map<MessageId, Envelope>();

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** Storage trouble is told, and the envelope kept in mind; not that of a message that somebody has removed. */
  async write(lease: Lease, envelope: Envelope): Promise<void> {
    this.#unwritten.set(lease.id, envelope);
    try {
      await this.catchUp(lease);
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      if (!this.owes(lease.id)) return;
      const text = `cannot record what became of ${lease.id}: ${error.message}`;
      this.#journal.tell({ kind: "note", level: "error", detail: false, text });
    }
  }

  /** True if something is still to be written. */
  owes(id: MessageId): boolean {
    return this.#unwritten.has(id);
  }

  /** Before an attempt. Throws SPOOL_FULL, SPOOL_IO or MESSAGE_REMOVED: then there is to be none. */
  async catchUp(lease: Lease): Promise<void> {
    const envelope = this.#unwritten.get(lease.id);
    if (envelope === undefined) return;
    try {
      await lease.rewrite(envelope);
    } catch (error) {
      const isRemoved = error instanceof RelayError && error.code === "MESSAGE_REMOVED";
      if (isRemoved) this.forget(lease.id);
      throw error;
    }
    this.forget(lease.id);
  }

  /** With what is still to be written. */
  envelopeOf({ id, envelope }: Lease): Envelope {
    return this.#unwritten.get(id) ?? envelope;
  }

  /** There is nothing to write, or the message has left the queue. */
  forget(id: MessageId): void {
    this.#unwritten.delete(id);
  }
}
