/** The sending side of a connection: few, large writes, no faster than the peer takes them. */
import type { Socket } from "node:net";

/** Bytes that are sooner copied than handed over in pieces. */
const SMALL_BYTES = 8192;

export class Wire {
  readonly #socket: Socket;
  #flushed = true;
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

  /** True while `writeAll()` waits for the peer. */
  get blocked(): boolean {
    return this.#waiting.length > 0;
  }

  /** All in one write. */
  write(pieces: readonly Uint8Array[]): void {
    this.#flushed = false;
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
    if (!error) this.#flushed = true;
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
