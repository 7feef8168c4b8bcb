/** Command lines out of bytes. CRLF ends a line; so does a bare LF, for nothing but commands is ever read here. */

const LF = 10;
const CR = 13;
const EMPTY = Buffer.alloc(0);

/** Unread input of one session, in order. */
export class CommandLines {
  readonly #limit: number;
  #bytes: Buffer = EMPTY;
  /** No line ends before this position. */
  #searched = 0;

  /** `limit` is the longest line in bytes, line end included. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** True in the middle of a line. */
  get partial(): boolean {
    return this.#bytes.length > 0;
  }

  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
  }

  /** The next line without its end; "too long" for one that has grown beyond the limit, finished or not; null when none is complete. */
  next(): Buffer | "too long" | null {
    const end = this.#bytes.indexOf(LF, this.#searched);
    if (end >= this.#limit || (end < 0 && this.#bytes.length >= this.#limit)) return "too long";
    if (end < 0) {
      this.#searched = this.#bytes.length;
      return null;
    }
    const line = this.#bytes.subarray(0, this.#bytes[end - 1] === CR ? end - 1 : end);
    this.#bytes = this.#bytes.subarray(end + 1);
    this.#searched = 0;
    return line;
  }

  /** Forgets everything, half lines included. */
  clear(): void {
    this.#bytes = EMPTY;
    this.#searched = 0;
  }
}
