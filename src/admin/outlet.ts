/**
 * The writing side of an administrator's connection. A long reply leaves in pieces as the client
 * reads, so that a stalled client can be told from a slow one; events never pile up.
 */
import type { Socket } from "node:net";

/** Events that wait for a client that does not read; older ones are dropped. Source: R14. */
const MAX_EVENTS = 100;
const PIECE_BYTES = 65536;

export class Outlet {
  readonly #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  readonly #events: string[] = [];
  #ending: "no" | "linger" | "close" = "no";
  /** Grows whenever the client has read something that it kept waiting. */
  progress = 0;

  /** `whenRoom` is called when the outlet is no longer blocked. */
  constructor(socket: Socket, whenRoom: () => void) {
    this.#socket = socket;
    socket.on("drain", () => {
      this.progress += 1;
      this.#push();
      if (!this.blocked) whenRoom();
    });
  }

  /** The client does not read: make no more replies. */
  get blocked(): boolean {
    return this.#rest.length > 0 || this.#socket.writableNeedDrain;
  }

  /** Bytes that wait. */
  get pending(): number {
    return this.#rest.length + this.#socket.writableLength;
  }

  say(text: string): void {
    const bytes = Buffer.from(text, "utf8");
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    this.#push();
  }

  announce(text: string): void {
    if (!this.blocked) {
      this.#gather();
      this.#socket.write(text);
      return;
    }
    if (this.#events.length >= MAX_EVENTS) this.#events.shift();
    this.#events.push(text);
  }

  /**
   * Closes our side when all replies are out. With `linger` the client may still send, to nobody,
   * until it has closed too: a reset could cost it our last words.
   */
  end(how: "linger" | "close"): void {
    this.#ending = how;
    this.#events.length = 0;
    this.#push();
  }

  #push(): void {
    if (this.#rest.length > 0) this.#gather();
    while (this.#rest.length > 0 && !this.#socket.writableNeedDrain) {
      const piece = this.#rest.subarray(0, PIECE_BYTES);
      this.#rest = this.#rest.subarray(piece.length);
      this.#socket.write(piece);
    }
    if (this.#rest.length > 0) return;
    if (this.#events.length > 0 && !this.blocked) {
      this.#socket.write(this.#events.splice(0).join(""));
    }
    if (this.#ending === "linger") this.#socket.end();
    if (this.#ending === "close") this.#socket.destroySoon();
  }

  /** What is written in one turn leaves in one packet. */
  #gather(): void {
    if (this.#socket.writableCorked > 0) return;
    this.#socket.cork();
    process.nextTick(() => this.#socket.uncork());
  }
}
