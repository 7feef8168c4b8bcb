/** The writing side of a session's connection, and its brake: what belongs together goes out in one write. */
import type { Socket } from "node:net";

/** Responses are gathered up to here. */
const BATCH_BYTES = 32768;

export class Wire {
  #socket: Socket;
  #parts: Buffer[] = [];
  #gathered = 0;
  #paused = false;
  #whenReady: (() => void) | null = null;
  #closed = false;
  /** The client does not read what we write. */
  blocked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get socket(): Socket {
    return this.#socket;
  }

  /** From now on everything goes through the encrypted connection. */
  replace(socket: Socket): void {
    this.#socket = socket;
    this.#paused = false;
    this.blocked = false;
  }

  /** Gathers; what has become long is written. Text is latin1. */
  say(part: string | Buffer): void {
    const bytes = typeof part === "string" ? Buffer.from(part, "latin1") : part;
    this.#parts.push(bytes);
    this.#gathered += bytes.length;
    if (this.#gathered >= BATCH_BYTES) this.flush();
  }

  flush(): void {
    if (this.#gathered > 0) this.blocked = !this.#socket.write(this.#take());
  }

  /** Writes what was gathered, and calls back when it has left us. */
  flushThen(done: () => void): void {
    this.#socket.write(this.#take(), done);
  }

  /** Resolves when the client has read enough for more; to false when there will be no more. */
  async ready(): Promise<boolean> {
    if (this.blocked && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#whenReady = resolve;
      });
    }
    return !this.#closed;
  }

  /** To be called when the socket has closed. */
  gone(): void {
    this.#closed = true;
    this.unblock();
  }

  /** To be called when the socket has drained. */
  unblock(): void {
    this.blocked = false;
    this.#whenReady?.();
    this.#whenReady = null;
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  /** Takes the listeners away and throws away what has been read but not looked at. */
  quiet(): void {
    for (const event of ["data", "end", "drain"]) this.#socket.removeAllListeners(event);
    while (this.#socket.read() !== null);
  }

  /**
   * Writes the last words and closes our side. The client may still send, to nobody, until it has closed
   * too: a reset in the middle of its writing could cost it our last words.
   */
  end(): void {
    this.#closed = true;
    if (this.#gathered === 0) this.#socket.end();
    else this.#socket.end(this.#take());
    this.#socket.resume();
  }

  destroy(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #take(): Buffer {
    const [first, ...more] = this.#parts;
    this.#parts = [];
    this.#gathered = 0;
    if (first === undefined) return Buffer.alloc(0);
    return more.length === 0 ? first : Buffer.concat([first, ...more]);
  }
}
