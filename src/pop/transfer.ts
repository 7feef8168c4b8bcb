/** Responses of many lines, as fast as the client reads and no faster: a session keeps one piece of them at a time. */
import type { DiskFile } from "../io/disk.ts";
import type { ContentEncoder } from "./content-encoder.ts";
import type { Wire } from "./wire.ts";

/** Content that is read at a time. Each piece that the client takes counts as activity. */
const CHUNK_BYTES = 32768;

/** The lines, none of which begins with a dot, and the dot that ends them. Resolves early when the client is gone. */
export async function sendLines(wire: Wire, lines: Iterable<string>): Promise<void> {
  for (const line of lines) {
    wire.say(`${line}\r\n`);
    if (wire.blocked && !(await wire.ready())) return;
  }
  wire.say(".\r\n");
}

/** Throws when the file ends before its time: then the response must not look complete. */
export async function sendContent(
  wire: Wire,
  { file, size }: { readonly file: DiskFile; readonly size: number },
  encoder: ContentEncoder,
): Promise<void> {
  let position = 0;
  while (position < size && !encoder.satisfied) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - position));
    const count = await file.read(buffer, position);
    if (count === 0) throw new Error(`content ended after ${position} of ${size} bytes`);
    position += count;
    wire.say(encoder.encode(buffer.subarray(0, count)));
    if (!(await wire.ready())) return;
  }
  wire.say(encoder.end());
}
