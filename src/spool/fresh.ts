/**
 * Messages that were committed a moment ago, as they were written: whoever forwards them at once
 * need not read them back. Bounded in bytes and in age; the files are the truth, and are looked at.
 */
import type { Clock } from "../core/clock.ts";
import type { Envelope } from "../core/envelope.ts";
import type { MessageId } from "../core/message-id.ts";
import type { FileFacts } from "../io/disk.ts";

/** What the two files hold. */
export interface Written {
  /** null: it is large, and only its file has it. */
  readonly content: Buffer | null;
  readonly contentBytes: number;
  readonly envelope: Buffer;
  /** What the envelope's file says; null when it must be read to know. */
  readonly said: Envelope | null;
}

/** Of the two files of a message, when they had been written and nobody else knew of them. */
export interface Stamps {
  readonly content: string;
  readonly envelope: string;
}

/** Another one as soon as somebody has put another file in its place, or written to it. */
export function stampOf({ device, inode, size, modifiedMs }: FileFacts): string {
  return `${device} ${inode} ${size} ${modifiedMs}`;
}

/** A message that need not be read back, as long as its files have these. */
export type Remembered = Written & { readonly stamps: Stamps };

/** In memory. */
export function bytesOf({ content, envelope }: Written): number {
  return (content?.length ?? 0) + envelope.length;
}

interface Entry {
  /** null when it is forgotten: what is left of it in the tables of a Map lives on. */
  written: Remembered | null;
  readonly bytes: number;
  readonly until: number;
}

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

  add(id: MessageId, written: Remembered): void {
    const now = this.#clock.monotonic();
    this.#forgetOld(now);
    const bytes = bytesOf(written);
    if (bytes > MAX_BYTES / MAX_SHARE || this.#bytes + bytes > MAX_BYTES) return;
    this.#entries.set(id, { written, bytes, until: now + FRESH_MS });
    this.#bytes += bytes;
  }

  /** Once; null for what is not known, or not any more. */
  take(id: MessageId): Remembered | null {
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
