/**
 * Messages that are locked from the start: while a forwarder of this store takes one after the other, an
 * envelope that it is about to take gets the name `.busy` at once, not two other names before it. Few, and
 * not for long: what is not taken within a second is given the name that everybody may take.
 */
import type { Clock } from "../core/clock.ts";
import type { Envelope } from "../core/envelope.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { bytesOf, type Written } from "./fresh.ts";
import { busyName, envelopeName } from "./names.ts";
import type { SpoolPlace } from "./place.ts";

/** A forwarder that has taken nothing for so long may be gone. */
const ACTIVE_MS = 250;
/** The rest is left to any forwarder. */
const MAX_MESSAGES = 64;
const MAX_BYTES = 2 * 1024 * 1024;
const HELD_MS = 1000;

/** What the two files of a message hold, its envelope's in words too. */
export type Known = Written & {
  readonly said: Envelope;
  /** The directory that they are in. */
  readonly place: string | null;
};

interface Entry {
  /** null when it is forgotten: what is left of it in the tables of a Map lives on. */
  written: Known | null;
  readonly bytes: number;
  readonly until: number;
}

export interface ReservedOptions {
  readonly disk: Disk;
  readonly place: SpoolPlace;
  readonly clock: Clock;
  /** Called with what could not be given its name: someone has moved it, or the next recovery does that. */
  readonly onLost: (id: MessageId, place: string | null) => void;
}

export class Reserved {
  readonly #options: ReservedOptions;
  readonly #stop = new AbortController();
  /** The oldest first. */
  readonly #entries = new Map<MessageId, Entry>();
  #bytes = 0;
  #activeUntil = Number.NEGATIVE_INFINITY;
  #timed = false;

  constructor(options: ReservedOptions) {
    this.#options = options;
  }

  /** A forwarder takes messages. */
  active(): void {
    this.#activeUntil = this.#options.clock.monotonic() + ACTIVE_MS;
  }

  /** True when a forwarder has ever taken one. */
  get isUsed(): boolean {
    return this.#activeUntil > Number.NEGATIVE_INFINITY;
  }

  /** True when a message that is committed now would be reserved, if it is small. */
  get isOpen(): boolean {
    if (this.#stop.signal.aborted || this.#entries.size >= MAX_MESSAGES) return false;
    return this.#options.clock.monotonic() <= this.#activeUntil;
  }

  /** False when it is to get the name that everybody may take. */
  add(id: MessageId, written: Written): boolean {
    const bytes = bytesOf(written);
    if (!this.isOpen || written.said === null || this.#bytes + bytes > MAX_BYTES) return false;
    const until = this.#options.clock.monotonic() + HELD_MS;
    const known = { ...written, said: written.said, place: this.#options.place.last };
    this.#entries.set(id, { written: known, bytes, until });
    this.#bytes += bytes;
    this.#wait(HELD_MS);
    return true;
  }

  has(id: MessageId): boolean {
    return this.#entries.has(id);
  }

  ids(): Iterable<MessageId> {
    return this.#entries.keys();
  }

  /** Once: what its files hold; null for what is not reserved. Its lock is the caller's from now on. */
  take(id: MessageId): Known | null {
    const entry = this.#entries.get(id);
    if (entry === undefined) return null;
    const { written } = entry;
    this.#entries.delete(id);
    this.#bytes -= entry.bytes;
    entry.written = null;
    return written;
  }

  /** From now on nothing is reserved, and what was is anybody's. */
  close(): void {
    this.#stop.abort();
    this.#release(Number.POSITIVE_INFINITY);
  }

  #wait(ms: number): void {
    if (this.#timed) return;
    this.#timed = true;
    const { clock } = this.#options;
    const ring = () => {
      this.#timed = false;
      if (this.#stop.signal.aborted) return;
      const now = clock.monotonic();
      this.#release(now);
      for (const { until } of this.#entries.values()) return this.#wait(until - now);
    };
    clock.sleep(ms, this.#stop.signal).then(ring, ring);
  }

  /** Those whose time has come by then. */
  #release(now: number): void {
    const { disk, onLost } = this.#options;
    for (const [id, { until }] of this.#entries) {
      if (until > now) return;
      const place = this.take(id)?.place ?? null;
      try {
        disk.rename(busyName(id), envelopeName(id));
      } catch {
        onLost(id, place);
      }
    }
  }
}
