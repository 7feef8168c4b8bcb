/** The sending side of a connection: few, large writes, no faster than the peer takes them. */
import type { Socket } from "node:net";

export class Wire {
  readonly #socket: Socket;
  #flushed = true;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("drain", () => this.wake());
    socket.on("close", () => this.wake());
  }

  /** True once the kernel has taken all that was given to `write()`. */
  get flushed(): boolean {
    return this.#flushed;
  }

  /** True while `writeAll()` waits for the peer. */
  get blocked(): boolean {
    return this.#wake !== null;
  }

  /** All in one write. */
  write(pieces: readonly Uint8Array[]): void {
    this.#flushed = false;
    this.#put(pieces, this.#onFlushed);
  }

  /** Resolves when there is room for more, or the connection is closed. */
  async writeAll(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#put(pieces) || this.#socket.destroyed) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Ends the waiting of `writeAll()`. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  readonly #onFlushed = (error?: Error | null): void => {
    if (!error) this.#flushed = true;
  };

  #put(pieces: readonly Uint8Array[], flushed?: (error?: Error | null) => void): boolean {
    const last = pieces.length - 1;
    if (last > 0) this.#socket.cork();
    let room = true;
    pieces.forEach((piece, index) => {
      room = this.#socket.write(piece, index === last ? flushed : undefined);
    });
    if (last > 0) this.#socket.uncork();
    return room;
  }
}
