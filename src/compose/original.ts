/** Reads what a notice tells about a message from its content file: all of it, or the header of a large one. */
import { isUtf8 } from "node:buffer";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { isErrno } from "../core/errors.ts";

/** Larger messages are not sent back whole. Bytes. */
const LARGEST_ORIGINAL = 10 * 1024 * 1024;
/** What is searched for the end of a large message's header. Bytes. */
const LARGEST_HEADER = 1024 * 1024;

export interface Original {
  /** The content; only its header when `shortened`. */
  readonly bytes: Buffer;
  readonly shortened: boolean;
  /** Of the whole content, in bytes. */
  readonly size: number;
  /** Values of the first To and Subject field, unfolded, encoded words as they are; "" when absent. */
  readonly to: string;
  readonly subject: string;
}

/** null when there is no such file. Rejects for what is not a regular file or cannot be read. */
export async function readOriginal(path: string): Promise<Original | null> {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
  let file: FileHandle;
  try {
    file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return null;
    throw error;
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new Error(`"${path}" is not a regular file`);
    const shortened = stat.size > LARGEST_ORIGINAL;
    const read = await readStart(file, shortened ? LARGEST_HEADER : stat.size);
    const header = read.subarray(0, headerEnd(read));
    return {
      bytes: shortened ? header : read,
      shortened,
      size: stat.size,
      to: fieldText(header, "to"),
      subject: fieldText(header, "subject"),
    };
  } finally {
    await file.close();
  }
}

async function readStart(file: FileHandle, size: number): Promise<Buffer> {
  const bytes = Buffer.alloc(size);
  let length = 0;
  while (length < size) {
    const { bytesRead } = await file.read(bytes, length, size - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return bytes.subarray(0, length);
}

/** One past the empty line; the length of what there is when it has none. */
function headerEnd(content: Buffer): number {
  if (content.indexOf("\r\n") === 0) return 2;
  const at = content.indexOf("\r\n\r\n");
  return at < 0 ? content.length : at + 4;
}

function fieldText(header: Buffer, name: string): string {
  const text = header.toString("latin1");
  const field = new RegExp(`^${name}[ \\t]*:((?:[^\\n]|\\n[ \\t])*)`, "im").exec(text)?.[1] ?? "";
  const bytes = Buffer.from(field.replace(/\r?\n[ \t]+/g, " ").trim(), "latin1");
  return bytes.toString(isUtf8(bytes) ? "utf8" : "latin1");
}
