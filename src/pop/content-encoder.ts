/**
 * Message content as a POP response (RFC 1939 3): every line ends with CRLF, lines that begin with a dot get
 * another one, a lone dot ends it all. A bare LF is sent as CRLF: many clients take it for a line end, and if
 * the dots after it were left alone, content could end the response and speak in our name.
 */

const LF = 10;
const CR = 13;
const DOT = 46;
const NONE = Buffer.alloc(0);

/** For one response; content goes through in parts of any size. */
export class ContentEncoder {
  #atLineStart = true;
  #afterCr = false;
  #stopped = false;
  /** Lines of the body that are still wanted. */
  #wanted: number;
  #inHeader = true;
  #lineIsEmpty = true;

  /** `bodyLines`: how many lines of the body are wanted; Infinity for all. */
  constructor(bodyLines: number) {
    this.#wanted = bodyLines;
  }

  /** True when nothing more of the content is wanted. */
  get satisfied(): boolean {
    return this.#stopped;
  }

  encode(part: Buffer): Buffer {
    const chunk = this.#wanted === Number.POSITIVE_INFINITY ? part : this.#cut(part);
    if (chunk.length === 0) return NONE;
    const more = this.#insertions(chunk);
    const encoded = more === 0 ? chunk : this.#insert(chunk, more);
    const last = chunk[chunk.length - 1];
    this.#atLineStart = last === LF;
    this.#afterCr = last === CR;
    return encoded;
  }

  /** What ends the response, after a line end where the content has none. */
  end(): string {
    return this.#atLineStart ? ".\r\n" : "\r\n.\r\n";
  }

  /** How many bytes must be put in. */
  #insertions(chunk: Buffer): number {
    let count = this.#atLineStart && chunk[0] === DOT ? 1 : 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, at + 1)) {
      if (this.#isBare(chunk, at)) count += 1;
      if (chunk[at + 1] === DOT) count += 1;
    }
    return count;
  }

  #insert(chunk: Buffer, count: number): Buffer {
    const out = Buffer.allocUnsafe(chunk.length + count);
    let length = 0;
    let from = 0;
    const put = (byte: number, until: number) => {
      length += chunk.copy(out, length, from, until);
      out[length] = byte;
      length += 1;
      from = until;
    };
    if (this.#atLineStart && chunk[0] === DOT) put(DOT, 0);
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, at + 1)) {
      if (this.#isBare(chunk, at)) put(CR, at);
      if (chunk[at + 1] === DOT) put(DOT, at + 1);
    }
    chunk.copy(out, length, from);
    return out;
  }

  #isBare(chunk: Buffer, at: number): boolean {
    return at === 0 ? !this.#afterCr : chunk[at - 1] !== CR;
  }

  /** The part of it that belongs to the header, the empty line, or the wanted lines of the body (RFC 1939, TOP). */
  #cut(part: Buffer): Buffer {
    let from = 0;
    while (!this.#stopped) {
      const at = part.indexOf(LF, from);
      const line = part.subarray(from, at < 0 ? part.length : at);
      if (line.some((byte) => byte !== CR)) this.#lineIsEmpty = false;
      if (at < 0) return part;
      this.#lineDone();
      from = at + 1;
    }
    return part.subarray(0, from);
  }

  #lineDone(): void {
    if (!this.#inHeader) this.#wanted -= 1;
    else if (this.#lineIsEmpty) this.#inHeader = false;
    this.#lineIsEmpty = true;
    this.#stopped = !this.#inHeader && this.#wanted <= 0;
  }
}
