/**
 * The framing of DATA: finds the end, which is CRLF.CRLF and nothing else, and undoes dot-stuffing.
 * Works on whole buffers: what need not be changed is passed on as a part of the buffer it came in.
 * Source: RFC 5321 4.5.2 and 2.3.8.
 */

import { type PlainFrom, plainLines } from "./plain-lines.ts";

export type BareNewlines = "fix" | "reject" | "accept";

const NUL = 0;
const LF = 10;
const CR = 13;
const DOT = 46;
const NONE = -1;
const UNKNOWN = -2;
/** Bytes of a line without its end, RFC 5322 2.1.1. */
const MAX_LINE = 998;
const CRLF = Buffer.from("\r\n");
const LONE_CR = Buffer.from("\r");

/** What the bytes before this one may still become. Those that wait (CR, dot, dot and CR) are not passed on yet. */
type State = "line start" | "in line" | "after CR" | "dot" | "dot CR";

/** Reads one message. */
export class DataReader {
  readonly #fix: boolean;
  #state: State = "line start";
  /** Where the line in hand began; negative when that was in an earlier buffer. */
  #lineStart = 0;
  /** Bytes of the longest line so far, as it came, if it has more than 998; otherwise 0. */
  longestLine = 0;
  /** Bare CRs and LFs seen. */
  bareNewlines = 0;
  /** True if there was a NUL. */
  nul = false;
  /** The content of the last `push`; read it before the next one. */
  content: readonly Buffer[] = [];

  /** With "fix" every bare CR or LF becomes CRLF; otherwise they stay as they are. */
  constructor(policy: BareNewlines) {
    this.#fix = policy === "fix";
  }

  /** Reads on in `bytes`. Returns how many of them belong to the message, its end included, or -1 for all and more to come. */
  push(bytes: Buffer): number {
    const out = new Pieces(bytes);
    const end = this.#scan(bytes, out);
    if (end < 0) out.keep(bytes.length - this.#waiting());
    this.#lineStart -= bytes.length;
    this.content = out.finish();
    if (!this.nul) this.nul = this.content.some((piece) => piece.includes(NUL));
    return end;
  }

  #waiting(): number {
    if (this.#state === "dot CR") return 2;
    return this.#state === "dot" || this.#state === "after CR" ? 1 : 0;
  }

  #scan(bytes: Buffer, out: Pieces): number {
    const plainFrom = plainLines(bytes);
    const breaks = new Breaks(bytes, plainFrom === null);
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === "line start") {
        const next = this.#passPlain(at, plainFrom, breaks, bytes[at] === DOT);
        if (next > at) {
          at = next;
          continue;
        }
      }
      if (this.#state === "in line") {
        at = this.#inLine(breaks.cr(at), breaks.lf(at), out);
        if (at < 0) return -1;
      } else if (this.#state === "dot CR" && bytes[at] === LF) {
        out.keep(at - 2);
        return at + 1;
      } else {
        at = this.#step(bytes[at], at, out);
      }
    }
    return -1;
  }

  /** Goes on to the start of another line, past whole ones that stay as they are, as most do. */
  #passPlain(at: number, plainFrom: PlainFrom | null, breaks: Breaks, dot: boolean): number {
    if (dot) return at;
    const plain = plainFrom?.(at) ?? at;
    if (plain > at) {
      this.#lineStart = plain;
      return plain;
    }
    const cr = breaks.cr(at);
    if (cr < 0 || breaks.lf(at) !== cr + 1) return at;
    this.#endLine(cr + 1);
    return cr + 2;
  }

  /** Goes to what follows the next CR or LF; -1 when the buffer has none left. */
  #inLine(cr: number, lf: number, out: Pieces): number {
    if (lf >= 0 && (cr < 0 || lf < cr)) {
      this.bareNewlines += 1;
      if (this.#fix) {
        out.keep(lf);
        out.add(CRLF);
        out.skipTo(lf + 1);
      }
      return lf + 1;
    }
    if (cr < 0) return -1;
    if (lf === cr + 1) {
      this.#endLine(lf);
      return lf + 1;
    }
    this.#state = "after CR";
    return cr + 1;
  }

  /** One byte in a state that looks at single bytes. Returns where to go on. */
  #step(byte: number | undefined, at: number, out: Pieces): number {
    switch (this.#state) {
      case "line start":
        this.#state = byte === DOT ? "dot" : "in line";
        return byte === DOT ? at + 1 : at;
      case "dot":
        if (byte === CR) {
          this.#state = "dot CR";
          return at + 1;
        }
        this.#dropDot(at - 1, out);
        this.#state = "in line";
        return at;
      case "dot CR":
        this.#dropDot(at - 2, out);
        this.#state = "after CR";
        return at;
      case "in line":
      case "after CR":
        this.#afterCr(byte === LF, at, out);
        return byte === LF ? at + 1 : at;
    }
  }

  #endLine(lf: number): void {
    const length = lf - 1 - this.#lineStart;
    if (length > MAX_LINE && length > this.longestLine) this.longestLine = length;
    this.#lineStart = lf + 1;
    this.#state = "line start";
  }

  #afterCr(complete: boolean, at: number, out: Pieces): void {
    if (complete) {
      this.#endLine(at);
    } else {
      this.#state = "in line";
      this.bareNewlines += 1;
    }
    if (!complete && this.#fix) {
      out.keep(at - 1);
      out.add(CRLF);
      out.skipTo(at);
    } else if (at === 0) {
      // The CR was held back at the end of the buffer before.
      out.add(LONE_CR);
    }
  }

  /** `dot` is negative when it came in the buffer before, and was not passed on. */
  #dropDot(dot: number, out: Pieces): void {
    out.keep(dot);
    out.skipTo(dot + 1);
  }
}

/** Where CRs and LFs are in one buffer. Remembered, so that long stretches of one kind are searched only once. */
class Breaks {
  readonly #bytes: Buffer;
  /** Searching a string costs half of what searching a buffer does, but it is a copy: for where much is searched. */
  readonly #text: string | null;
  #cr = UNKNOWN;
  #lf = UNKNOWN;

  constructor(bytes: Buffer, often: boolean) {
    this.#bytes = bytes;
    this.#text = often ? bytes.toString("latin1") : null;
  }

  /** The first one at or after `at`, or -1. Never goes back. */
  cr(at: number): number {
    if (this.#cr !== NONE && this.#cr < at) {
      this.#cr = this.#text?.indexOf("\r", at) ?? this.#bytes.indexOf(CR, at);
    }
    return this.#cr;
  }

  lf(at: number): number {
    if (this.#lf !== NONE && this.#lf < at) {
      this.#lf = this.#text?.indexOf("\n", at) ?? this.#bytes.indexOf(LF, at);
    }
    return this.#lf;
  }
}

/** Parts of one buffer with changes between them. As long as there is only one part it is not copied. */
class Pieces {
  readonly #from: Buffer;
  /** Start of what is neither kept nor skipped yet. */
  #start = 0;
  readonly #first: Buffer[] = [];
  /** A message may be nothing but dots to remove, so many parts become one copy. */
  #copy: Buffer | null = null;
  #length = 0;

  constructor(from: Buffer) {
    this.#from = from;
  }

  /** Keeps everything up to `end` that was not skipped. */
  keep(end: number): void {
    if (end <= this.#start) return;
    const { length } = this.#from;
    if (this.#copy === null && this.#first.length < 4) {
      this.#first.push(this.#from.subarray(this.#start, end));
    } else {
      // Every byte becomes at most two (a bare LF becomes CRLF).
      this.#copy ??= Buffer.allocUnsafe(2 * length + 2);
      this.#length += this.#from.copy(this.#copy, this.#length, this.#start, end);
    }
    this.#start = end;
  }

  /** Adds one or two bytes. */
  add(bytes: Buffer): void {
    if (this.#copy === null && this.#first.length < 4) {
      this.#first.push(bytes);
      return;
    }
    this.#copy ??= Buffer.allocUnsafe(2 * this.#from.length + 2);
    this.#length += bytes.copy(this.#copy, this.#length);
  }

  skipTo(start: number): void {
    this.#start = Math.max(this.#start, start);
  }

  finish(): readonly Buffer[] {
    if (this.#copy !== null) this.#first.push(this.#copy.subarray(0, this.#length));
    return this.#first;
  }
}
