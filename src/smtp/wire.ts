/** The writing side of a session's connection, and its brake: replies of a batch go out in one write. */
import type { Socket } from "node:net";
import type { Transcript } from "./transcript.ts";

/** Replies of pipelined commands are gathered up to here. */
const BATCH_CHARACTERS = 16384;

export class Wire {
  #socket: Socket;
  readonly #transcript: Transcript;
  #out = "";
  #paused = false;
  #encrypted = false;
  /** The client does not read our replies. */
  blocked = false;

  constructor(socket: Socket, transcript: Transcript) {
    this.#socket = socket;
    this.#transcript = transcript;
  }

  get socket(): Socket {
    return this.#socket;
  }

  /** From now on everything goes through the encrypted connection. */
  replace(socket: Socket): void {
    this.#socket = socket;
    this.#encrypted = true;
    this.#paused = false;
    this.blocked = false;
  }

  /** A reply without its last CRLF; "" says nothing. Gathers; a batch that becomes long is written. */
  say(text: string): void {
    if (text === "") return;
    if (this.#transcript.wanted) {
      for (const line of text.split("\r\n")) this.#transcript.line("tx", line);
    }
    this.#out += `${text}\r\n`;
    if (this.#out.length >= BATCH_CHARACTERS) this.flush();
  }

  flush(): void {
    if (this.#out === "") return;
    this.blocked = !this.#socket.write(this.#out);
    this.#out = "";
  }

  /** Writes what was gathered, and calls back when it has left us. */
  flushThen(done: () => void): void {
    const text = this.#out;
    this.#out = "";
    this.#socket.write(text, done);
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
   * Writes the last words and closes our side. With `linger` the client may still send, to nobody, until it
   * has closed too: a reset in the middle of its writing could cost it our last words.
   */
  end(linger: boolean): void {
    if (this.#out === "") this.#socket.end();
    else this.#socket.end(this.#out);
    this.#out = "";
    if (linger) this.#socket.resume();
    else this.#socket.destroySoon();
  }

  /** As `end`, but closes both sides as soon as the last words have left us. TLS has more to say than we know of. */
  close(linger: boolean): void {
    if (!this.#encrypted) this.flush();
    if (this.#encrypted || this.#socket.writableLength > 0) this.end(linger);
    else this.#socket.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
