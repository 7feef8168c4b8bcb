/** Content as it goes on the wire: DATA with stuffed dots, or BDAT chunks. Whole buffers, no per-line work. */
import { RelayError } from "../core/errors.ts";
import type { Content } from "../core/store.ts";
import { plainLines } from "./plain-lines.ts";

const LF = 0x0a;
const CR = 0x0d;
const DOT = 0x2e;
const CRLF = Buffer.from("\r\n");
const FINAL_DOT = Buffer.from(".\r\n");

/**
 * Makes content fit for DATA (RFC 5321 4.5.2): every line ends in CRLF, bare CR and bare LF become
 * CRLF so that no host can see another end of the message than ours (SMTP smuggling), and a dot at
 * the start of a line is doubled. What is fit already passes uncopied. Chunks may be cut anywhere.
 */
export class DotStuffer {
  readonly #counting: boolean;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  /** The next byte starts a line. */
  #lineStart = true;
  /** The last byte was a CR that has not been written: it takes the next byte to know what it is. */
  #cr = false;
  /** Lines written so far; only if counting. */
  lines = 0;

  constructor(counting: boolean) {
    this.#counting = counting;
  }

  /** Bytes that wait to be taken. */
  get bytes(): number {
    return this.#bytes;
  }

  add(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    const bytes = asBuffer(chunk);
    const start = this.#begin(bytes);
    if (start >= bytes.length) return;
    this.#cr = bytes[bytes.length - 1] === CR;
    const end = this.#cr ? bytes.length - 1 : bytes.length;
    const fit = fitUpTo(bytes, start, end);
    if (fit > start) this.#push(bytes.subarray(start, fit));
    if (fit < end) this.#push(rewrite(bytes, fit, end));
    // A line break that was rewritten started a line as well.
    const last = end > start ? bytes[end - 1] : undefined;
    if (last !== undefined) this.#lineStart = last === LF || last === CR;
  }

  /** Completes the last line and adds the final dot. */
  end(): void {
    if (this.#cr || !this.#lineStart) this.#push(CRLF);
    this.#cr = false;
    this.#lineStart = true;
    this.#push(FINAL_DOT);
    if (this.#counting) this.lines -= 1;
  }

  take(): readonly Uint8Array[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    return pieces;
  }

  /** What hangs over from the chunk before; returns where the rest of this one starts. */
  #begin(bytes: Buffer): number {
    let start = 0;
    if (this.#cr) {
      this.#cr = false;
      this.#push(CRLF);
      this.#lineStart = true;
      if (bytes[0] === LF) start = 1;
    }
    if (this.#lineStart && bytes[start] === DOT) this.#push(FINAL_DOT.subarray(0, 1));
    return start;
  }

  #push(piece: Uint8Array): void {
    if (this.#counting) this.lines += countLines(piece);
    this.#pieces.push(piece);
    this.#bytes += piece.length;
  }
}

/** Where the first byte is that cannot go as it is; `end` when all can. No dot at `start` is looked at. */
function fitUpTo(bytes: Buffer, start: number, end: number): number {
  const plainFrom = plainLines(bytes);
  let at = start;
  for (;;) {
    const plain = plainFrom?.(at) ?? at;
    if (plain > at && plain < end && bytes[plain] === DOT) return plain;
    at = plain;
    const cr = firstOf(bytes, CR, at, end);
    const lf = firstOf(bytes, LF, at, end);
    if (lf === end || lf !== cr + 1) return Math.min(cr, lf);
    at = lf + 1;
    if (at < end && bytes[at] === DOT) return at;
  }
}

/** `end` when there is none before it. */
function firstOf(bytes: Buffer, byte: number, from: number, end: number): number {
  const at = bytes.indexOf(byte, from);
  return at < 0 || at > end ? end : at;
}

/** From the first misfit on: byte by byte, in time that only depends on the number of bytes. */
function rewrite(bytes: Buffer, start: number, end: number): Buffer {
  const out = Buffer.allocUnsafe((end - start) * 2);
  let to = 0;
  let lineStart = bytes[start] === DOT;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte === CR || byte === LF) {
      if (byte === CR && bytes[at + 1] === LF) at += 1;
      out[to++] = CR;
      out[to++] = LF;
      lineStart = true;
    } else {
      if (byte === DOT && lineStart) out[to++] = DOT;
      out[to++] = byte;
      lineStart = false;
    }
  }
  return out.subarray(0, to);
}

function countLines(piece: Uint8Array): number {
  let count = 0;
  for (let at = piece.indexOf(LF); at >= 0; at = piece.indexOf(LF, at + 1)) count += 1;
  return count;
}

/** RFC 3030: sizes are exact, content is not touched. */
export interface Chunk {
  /** "BDAT <size>[ LAST]" without line end. */
  readonly command: string;
  readonly pieces: readonly Uint8Array[];
  readonly last: boolean;
}

/** Cuts content into BDAT chunks of `limit` bytes; the last one, perhaps empty, is marked. */
export async function* chunks(
  content: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<Chunk, void, void> {
  let pieces: Uint8Array[] = [];
  let size = 0;
  for await (const part of content) {
    let rest = part;
    while (size + rest.length > limit) {
      pieces.push(rest.subarray(0, limit - size));
      rest = rest.subarray(limit - size);
      yield { command: `BDAT ${limit}`, pieces, last: false };
      pieces = [];
      size = 0;
    }
    if (rest.length > 0) pieces.push(rest);
    size += rest.length;
  }
  yield { command: `BDAT ${size} LAST`, pieces, last: true };
}

function asBuffer(chunk: Uint8Array): Buffer {
  return Buffer.isBuffer(chunk)
    ? chunk
    : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

/** So much at a time has to be taken by the peer within the time for a reply. */
export const PART_BYTES = 256 * 1024;

/** The content in parts of that size at most, or an error when there is more or less of it than was promised. `room` as in `Content`. */
export async function* exactly(
  content: Content,
  room?: () => Uint8Array,
): AsyncGenerator<Uint8Array, void, void> {
  let size = 0;
  for await (const part of content.bytes(room)) {
    size += part.length;
    if (size > content.size) break;
    for (let at = 0; at < part.length; at += PART_BYTES) {
      yield part.subarray(at, at + PART_BYTES);
    }
  }
  if (size !== content.size) {
    const found = `expected ${content.size} bytes, found ${size}`;
    throw new RelayError("SPOOL_IO", "", `Cannot read all of the content: ${found}`);
  }
}
