/**
 * Messages that were committed a moment ago, as they were written: whoever forwards them at once
 * need not read them back. Bounded in bytes and in age; the files are the truth.
 */
import type { Clock } from "../core/clock.ts";
import type { Envelope } from "../core/envelope.ts";
import type { MessageId } from "../core/message-id.ts";

/** What the two files hold. */
export interface Written {
  /** null: it is large, and only its file has it. */
  readonly content: Buffer | null;
  readonly contentBytes: number;
  readonly envelope: Buffer;
  /** What the envelope's file says; null when it must be read to know. */
  readonly said: Envelope | null;
}

/** In memory. */
export function bytesOf({ content, envelope }: Written): number {
  return (content?.length ?? 0) + envelope.length;
}

interface Entry {
  /** null when it is forgotten: what is left of it in the tables of a Map lives on. */
  written: Written | null;
  readonly bytes: number;
  readonly until: number;
}

/** Nobody edits a message within this time and expects to be noticed. */
const FRESH_MS = 1000;
const MAX_BYTES = 8 * 1024 * 1024;
/** Of one message. */
const MAX_SHARE = 16;

export class Fresh {
  readonly #clock: Clock;
  /** The oldest first. */
  readonly #entries = new Map<MessageId, Entry>();
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(id: MessageId, written: Written): void {
    const now = this.#clock.monotonic();
    this.#forgetOld(now);
    const bytes = bytesOf(written);
    if (bytes > MAX_BYTES / MAX_SHARE || this.#bytes + bytes > MAX_BYTES) return;
    this.#entries.set(id, { written, bytes, until: now + FRESH_MS });
    this.#bytes += bytes;
  }

  /** Once; null for what is not known, or not any more. */
  take(id: MessageId): Written | null {
    const entry = this.#entries.get(id);
    if (entry === undefined) return null;
    const { written, until } = entry;
    this.#forget(id, entry);
    return until >= this.#clock.monotonic() ? written : null;
  }

  #forgetOld(now: number): void {
    for (const [id, entry] of this.#entries) {
      if (entry.until >= now) return;
      this.#forget(id, entry);
    }
  }

  #forget(id: MessageId, entry: Entry): void {
    this.#entries.delete(id);
    this.#bytes -= entry.bytes;
    entry.written = null;
  }
}
