/** Bytes from a smarthost -> SMTP replies. What is not exactly a reply is never taken for one. */
import type { Reply } from "../core/reply.ts";

/** RFC 5321 4.5.3.1.5 allows 512 bytes; real hosts say more in one line. */
const LINE_LIMIT = 8192;
const REPLY_LIMIT = 65_536;
const LF = 0x0a;
const CR = 0x0d;
const NOTHING = Buffer.alloc(0);

export type Heard =
  | { readonly kind: "reply"; readonly reply: Reply }
  /** Not SMTP; `line` is the start of what came instead. Nothing can be read after it. */
  | { readonly kind: "invalid"; readonly line: string };

/**
 * Incremental. A reply is one or more lines "code-text", the last "code text" or "code", all with
 * the same code 200..599 (RFC 5321 4.2.1). A bare LF ends a line too: it cannot make one reply
 * out of two, and a host that writes so has still answered. A bare CR or a NUL makes it invalid.
 */
export class ReplyParser {
  #buffer: Buffer = NOTHING;
  #code = 0;
  #texts: string[] = [];
  #size = 0;

  push(chunk: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
  }

  /** True if not a byte has come that was not part of a reply already taken. */
  get empty(): boolean {
    return this.#buffer.length === 0 && this.#texts.length === 0;
  }

  /** The next complete reply; null when more bytes are needed. */
  next(): Heard | null {
    for (;;) {
      const end = this.#buffer.indexOf(LF);
      if (end < 0) return this.#buffer.length > LINE_LIMIT ? this.#invalid() : null;
      const stop = end > 0 && this.#buffer[end - 1] === CR ? end - 1 : end;
      const line = this.#buffer.toString("utf8", 0, stop);
      this.#size += end + 1;
      if (end > LINE_LIMIT || this.#size > REPLY_LIMIT || !this.#accept(line)) {
        return this.#invalid();
      }
      this.#buffer = this.#buffer.subarray(end + 1);
      if (line[3] !== "-") return { kind: "reply", reply: this.#finish() };
    }
  }

  /** Takes one line; false when it is none, or not of the reply it stands in. */
  #accept(line: string): boolean {
    if (!/^[2-5]\d\d(?:[ -][^\r\0]*)?$/.test(line)) return false;
    const code = Number(line.slice(0, 3));
    if (this.#texts.length > 0 && code !== this.#code) return false;
    this.#code = code;
    this.#texts.push(line.slice(4));
    return true;
  }

  #finish(): Reply {
    const reply = { code: this.#code, text: this.#texts.join("\n") };
    this.#texts = [];
    this.#size = 0;
    return reply;
  }

  #invalid(): Heard {
    return {
      kind: "invalid",
      line: this.#buffer.toString("utf8", 0, 200).split(/[\r\n]/)[0] ?? "",
    };
  }
}
