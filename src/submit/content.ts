/** Bytes from outside as message content: every line with CRLF, header apart from body, nothing decoded. */

/** A message is refused when its header is larger: it is the one part that is held in memory. Bytes. */
const LARGEST_HEADER = 4 * 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;
const NOTHING = new Uint8Array();

export interface SplitContent {
  /** The header section with CRLF line ends, without the empty line; bytes as latin1 characters. */
  readonly header: string;
  /** What follows the empty line. Iterate once. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** Reads as far as the first empty line. Rejects when the header is too large. */
export async function splitContent(source: AsyncIterable<Uint8Array>): Promise<SplitContent> {
  const chunks = crlfLines(source);
  const header: Buffer[] = [];
  let size = 0;
  // As if a line end came before: the very first line may be the empty one.
  let tail = Buffer.from("\n");
  for (;;) {
    const next = await chunks.next();
    if (next.done === true)
      return { header: bytesAsText(header, size), body: after(NOTHING, null) };
    const chunk = next.value;
    const seam = Buffer.concat([tail, chunk]);
    const at = seam.indexOf("\n\r\n");
    header.push(chunk);
    if (at >= 0) {
      const bodyAt = at + 3 - tail.length;
      // The header stops before the empty line's own CRLF.
      const text = bytesAsText(header, size + bodyAt - 2);
      return { header: text, body: after(chunk.subarray(bodyAt), chunks) };
    }
    size += chunk.length;
    if (size > LARGEST_HEADER) {
      throw new Error(`header is larger than ${LARGEST_HEADER} bytes: no empty line found`);
    }
    tail = seam.subarray(-2);
  }
}

function bytesAsText(chunks: readonly Buffer[], size: number): string {
  return Buffer.concat(chunks, size).toString("latin1");
}

/** A LF gets its CR, the last line its end; a CR elsewhere and all other bytes stay what they are. */
async function* crlfLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let last = LF;
  for await (const chunk of source) {
    if (chunk.length === 0) continue;
    yield withCrlf(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length), last);
    last = chunk[chunk.length - 1] ?? last;
  }
  if (last !== LF) yield Buffer.from(last === CR ? "\n" : "\r\n");
}

function withCrlf(chunk: Buffer, before: number): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, at + 1)) {
    const previous = at === 0 ? before : chunk[at - 1];
    if (previous === CR) continue;
    parts.push(chunk.subarray(from, at), Buffer.from("\r"));
    from = at;
  }
  if (parts.length === 0) return chunk;
  parts.push(chunk.subarray(from));
  return Buffer.concat(parts);
}

/** Ends the input at a line that is only a dot: how a person at a terminal ends a message. */
export async function* untilDot(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let line = "";
  for await (const chunk of source) {
    for (const [end, byte] of chunk.entries()) {
      if (byte !== LF) {
        // Three characters tell "." and ".\r" from every other line.
        if (line.length < 3) line += String.fromCharCode(byte);
        continue;
      }
      if (line === "." || line === ".\r") {
        yield chunk.subarray(0, Math.max(0, end - line.length));
        return;
      }
      line = "";
    }
    yield chunk;
  }
}

/** First these bytes, then the source. */
export async function* after(
  first: Uint8Array,
  source: AsyncIterable<Uint8Array> | null,
): AsyncGenerator<Uint8Array> {
  yield first;
  if (source !== null) yield* source;
}
