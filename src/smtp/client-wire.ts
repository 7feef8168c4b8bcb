/** The sending side of a connection: few, large writes, no faster than the peer takes them. */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** Bytes that are sooner copied than handed over in pieces. */
const SMALL_BYTES = 8192;

export class Wire {
  readonly #socket: Socket;
  #flushed = true;
  #withheld = false;
  #writes = 0;
  /** Those who wait in `writeAll()`, in the order of their writes. */
  #waiting: (() => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("close", () => this.wake());
  }

  /** True once the kernel has taken all that was given to `write()`. */
  get flushed(): boolean {
    return this.#flushed;
  }

  /** Watches what `write()` was given last: whether the peer can have all of it decides what becomes of a message. */
  watch(): void {
    // With TLS the news that it has left comes too late to tell for certain.
    if (this.#socket instanceof TLSSocket || this.#socket.writableLength === 0) return;
    const write = this.#writes;
    // The kernel may have taken it at the second try, just now: that is told within this turn of the event
    // loop. Whatever it takes later is told at once.
    setImmediate(() => {
      if (write === this.#writes) this.#withheld = !this.#flushed;
    });
  }

  /** True while the end of that has certainly not left; false when it has, or perhaps. */
  get withheld(): boolean {
    return this.#withheld;
  }

  /** True while `writeAll()` waits for the peer. */
  get blocked(): boolean {
    return this.#waiting.length > 0;
  }

  /** All in one write. */
  write(pieces: readonly Uint8Array[]): void {
    this.#flushed = false;
    this.#withheld = false;
    this.#writes += 1;
    this.#put(pieces, this.#onFlushed);
  }

  /** Resolves when the kernel has taken all of it, or the connection is closed. */
  async writeAll(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#socket.destroyed) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      this.#put(pieces, () => this.#waiting.shift()?.());
    });
  }

  /** Ends the waiting of `writeAll()`. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  readonly #onFlushed = (error?: Error | null): void => {
    if (error) return;
    this.#flushed = true;
    this.#withheld = false;
  };

  #put(pieces: readonly Uint8Array[], flushed: (error?: Error | null) => void): void {
    const parts = joinedIfSmall(pieces);
    const last = parts.length - 1;
    if (last > 0) this.#socket.cork();
    parts.forEach((part, index) => {
      this.#socket.write(part, index === last ? flushed : undefined);
    });
    if (last > 0) this.#socket.uncork();
  }
}

function joinedIfSmall(pieces: readonly Uint8Array[]): readonly Uint8Array[] {
  if (pieces.length < 2) return pieces;
  const size = sizeOf(pieces);
  return size <= SMALL_BYTES ? [Buffer.concat(pieces, size)] : pieces;
}

export function sizeOf(pieces: readonly Uint8Array[]): number {
  let size = 0;
  for (const piece of pieces) size += piece.length;
  return size;
}
