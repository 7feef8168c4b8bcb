/** One message on its way in: a few buffers while it is small, a stream with back-pressure when it is not. */
import { ClientGone, type IncomingContent } from "../core/intake.ts";
import type { Reply } from "../core/reply.ts";
import { giveBackAll } from "../io/give-back.ts";
import { ContentQueue } from "./content-queue.ts";
import { HopCounter } from "./hops.ts";
import { TOO_BIG_TEXT } from "./server-reply.ts";

/** Up to here a message is kept in memory and handed over in one piece. */
const SMALL_BYTES = 64 * 1024;

/** Parts of a small message that are kept apart. */
const MAX_PARTS = 256;

export interface IncomingLimits {
  /** Bytes; 0 for no limit. */
  readonly maxSizeBytes: number;
  /** Received lines; 0 for no limit. */
  readonly maxHops: number;
}

export class IncomingMessage implements IncomingContent {
  readonly #limits: IncomingLimits;
  readonly #hops = new HopCounter();
  readonly #parts: Uint8Array[] = [];
  #queue: ContentQueue | null = null;
  #size = 0;
  #bad: Reply | null = null;
  /** True when the client has sent all of it. */
  complete = false;

  /** `received` is the line to put in front, or "". */
  constructor(received: string, limits: IncomingLimits) {
    this.#limits = limits;
    if (received !== "") this.#parts.push(Buffer.from(received));
  }

  /** True when it is passed on as it comes. */
  get streams(): boolean {
    return this.#queue !== null;
  }

  /** True when too much has come to wait for the end. */
  get isLarge(): boolean {
    return this.#queue === null && this.#size > SMALL_BYTES;
  }

  get tooBig(): boolean {
    return this.#limits.maxSizeBytes > 0 && this.#size > this.#limits.maxSizeBytes;
  }

  /** False when the client should wait until `whenRoom` is called. What exceeds the size limit is only counted. */
  push(bytes: Buffer): boolean {
    if (this.#limits.maxHops > 0) this.#hops.push(bytes);
    const before = this.#size;
    this.#size += bytes.length;
    if (!this.tooBig) return this.#keep(bytes);
    const room = this.#limits.maxSizeBytes - before;
    return room > 0 ? this.#keep(bytes.subarray(0, room)) : true;
  }

  #keep(bytes: Buffer): boolean {
    if (this.#queue !== null) return this.#queue.push(bytes);
    // A client that sends byte by byte must not cost us an object for each.
    if (this.#parts.length >= MAX_PARTS) this.#parts.push(Buffer.concat(this.#parts.splice(0)));
    this.#parts.push(bytes);
    return true;
  }

  /**
   * From now on what comes is passed on at once. `whenRoom` is called each time the receiver has caught up. `alone`:
   * the buffers that it came in have nothing else in them that is still to be read.
   */
  stream(whenRoom: () => void, alone: boolean): void {
    this.#queue = new ContentQueue(whenRoom);
    const parts = this.#parts.splice(0);
    for (const part of parts) this.#queue.push(part);
    if (alone) for (const { buffer } of parts) giveBackAll(buffer);
  }

  /** The client has sent all of it. `bad` is what is wrong with its bytes. */
  end(bad: Reply | null): void {
    this.complete = true;
    this.#bad = bad;
    this.#queue?.end();
  }

  /** The client will not send the rest. */
  fail(): void {
    this.#queue?.fail(new ClientGone("The client went away in the middle of a message"));
  }

  get chunks(): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
    if (this.#queue !== null) return this.#queue;
    return this.#parts.length > 1 ? [Buffer.concat(this.#parts)] : this.#parts;
  }

  refusal(): Reply | null {
    if (this.tooBig) return { code: 552, text: TOO_BIG_TEXT };
    if (this.#bad !== null) return this.#bad;
    const { maxHops } = this.#limits;
    return maxHops > 0 && this.#hops.count > maxHops
      ? { code: 554, text: "5.4.6 too many hops" }
      : null;
  }
}
