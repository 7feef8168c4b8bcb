/** Command lines out of bytes. Only CRLF ends a line: a bare LF taken for one would let content pass as commands. */

import { giveBack } from "../io/give-back.ts";

const LF = 10;
const CR = 13;
const EMPTY = Buffer.alloc(0);

/** Unread input of one session, in order. */
export class LineReader {
  readonly #limit: number;
  #bytes: Buffer = EMPTY;
  #at = 0;
  /** No CRLF ends before this position. */
  #searched = 0;
  #skipping = false;

  /** `limit` is the longest line in bytes, without CRLF. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Unread bytes. */
  get pending(): number {
    return this.#bytes.length - this.#at;
  }

  /** True in the middle of a line, also of one that is too long to be kept. */
  get partial(): boolean {
    return this.#skipping || this.pending > 0;
  }

  push(chunk: Buffer): void {
    if (this.#at >= this.#bytes.length) {
      this.#bytes = chunk;
      this.#searched = 0;
    } else {
      this.#searched -= this.#at;
      this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), chunk]);
    }
    this.#at = 0;
  }

  /** The next line without CRLF, "too long" at the end of one that is, or null when none is complete. */
  line(): Buffer | "too long" | null {
    const end = this.#findEnd();
    if (end < 0) {
      if (this.#skipping || this.pending > this.#limit + 1) this.#skip();
      return null;
    }
    const line = this.#bytes.subarray(this.#at, end);
    this.#at = end + 2;
    this.#searched = this.#at;
    if (!this.#skipping && line.length <= this.#limit) return line;
    this.#skipping = false;
    return "too long";
  }

  /** All unread bytes, still unread. */
  peek(): Buffer {
    return this.#at === 0 ? this.#bytes : this.#bytes.subarray(this.#at);
  }

  /** Takes so many of the unread bytes as read. */
  advance(count: number): void {
    this.#at += count;
    this.#searched = this.#at;
  }

  /** Gives back the memory of what has been read, if that is all there is; nothing may be a part of it any more. */
  giveBack(): void {
    if (this.pending > 0) return;
    giveBack(this.#bytes);
    this.#bytes = EMPTY;
    this.#at = 0;
    this.#searched = 0;
  }

  /** Forgets everything, half lines included. */
  clear(): void {
    this.#bytes = EMPTY;
    this.#at = 0;
    this.#searched = 0;
    this.#skipping = false;
  }

  /** Position of the CR of the next CRLF, or -1. */
  #findEnd(): number {
    let from = Math.max(this.#searched, this.#at);
    for (;;) {
      const lf = this.#bytes.indexOf(LF, from);
      if (lf < 0) break;
      if (lf > this.#at && this.#bytes[lf - 1] === CR) return lf - 1;
      from = lf + 1;
    }
    this.#searched = this.#bytes.length;
    return -1;
  }

  /** Drops the start of an endless line; a CR at its end may be half a CRLF. */
  #skip(): void {
    this.#skipping = true;
    const last = this.#bytes[this.#bytes.length - 1];
    this.#at = this.#bytes.length - (last === CR ? 1 : 0);
    this.#searched = this.#at;
  }
}
