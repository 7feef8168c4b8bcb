/** What of a message goes back to its sender: all of a small one, the header of any other. Memory stays bounded. */
import type { Content } from "../core/store.ts";
import type { Part } from "./mail.ts";

/** Larger messages, and larger headers, do not go back whole. Bytes. */
const LARGEST = 100 * 1024;
/** Longest line of a mail without its CRLF (RFC 5321 4.5.3.1.6). */
const LONGEST_LINE = 998;

const CR = 0x0d;
const LF = 0x0a;

export interface Returned {
  readonly bytes: Buffer;
  /** False: `bytes` is the header alone. */
  readonly whole: boolean;
  /** Of the whole content, in bytes. */
  readonly size: number;
}

/** Reads the content, no more of it than goes back. */
export async function readReturned(content: Content, want: "whole" | "header"): Promise<Returned> {
  const whole = want === "whole" && content.size <= LARGEST;
  const read = await readStart(content, whole);
  if (whole && transferEncoding(read) !== null) {
    return { bytes: read, whole: true, size: content.size };
  }
  // What no mail may contain as it is (lines too long, a NUL) could not be in it unchanged.
  return { bytes: headerOf(read), whole: false, size: content.size };
}

/** As a part of a report, by the name that RFC 6522, or RFC 6533 where addresses are not ASCII, has for it. */
export function returnedPart(returned: Returned, international: boolean): Part {
  const encoding = transferEncoding(returned.bytes);
  const bytes = { kind: "bytes", encoding: encoding ?? "base64", bytes: returned.bytes } as const;
  const global = international && encoding === "8bit";
  if (returned.whole) return { ...bytes, type: global ? "message/global" : "message/rfc822" };
  return { ...bytes, type: global ? "message/global-headers" : "text/rfc822-headers" };
}

/** The fields of a header as lines, unfolded; broken characters as they come. */
export function headerLines({ bytes }: Returned): string[] {
  return headerOf(bytes)
    .toString("latin1")
    .replace(/\r?\n(?=[ \t])/g, "")
    .split(/\r?\n/);
}

async function readStart(content: Content, whole: boolean): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  let tail = "";
  for await (const part of content.bytes()) {
    parts.push(part);
    size += part.length;
    if (size >= LARGEST && !(whole && size === LARGEST)) break;
    if (whole) continue;
    const text =
      tail + Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("latin1");
    if (text.includes("\r\n\r\n") || text.includes("\n\n")) break;
    tail = text.slice(-3);
  }
  return Buffer.concat(parts).subarray(0, LARGEST);
}

/** The header with the end of its last line; whole lines only, where it is cut. */
function headerOf(read: Buffer): Buffer {
  if (read.indexOf("\r\n") === 0) return read.subarray(0, 0);
  const end = read.indexOf("\r\n\r\n");
  if (end >= 0) return read.subarray(0, end + 2);
  return read.length < LARGEST ? read : read.subarray(0, read.lastIndexOf("\r\n") + 2);
}

/** What it is as it stands; null when it can only go encoded. */
function transferEncoding(bytes: Buffer): "7bit" | "8bit" | null {
  if (bytes.includes(0)) return null;
  let start = 0;
  while (start < bytes.length) {
    const lf = bytes.indexOf(LF, start);
    const end = lf < 0 ? bytes.length : lf - 1;
    const cr = bytes.indexOf(CR, start);
    const isLine = lf < 0 ? cr < 0 : cr === end;
    if (!isLine || end - start > LONGEST_LINE) return null;
    start = lf < 0 ? end : lf + 1;
  }
  return bytes.some((byte) => byte > 0x7f) ? "8bit" : "7bit";
}
