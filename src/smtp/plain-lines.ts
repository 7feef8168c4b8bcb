/**
 * Which lines of a large buffer need no further look: they end in CRLF, have no other CR or LF, do
 * not begin with a dot, and are no longer than RFC 5322 2.1.1 allows. Nearly all are, and looking
 * for each line's end by itself is what receiving and sending large mail would spend its time on.
 */
import { PLAIN_LINES_CODE } from "./plain-lines-code.ts";

/** Bytes: smaller buffers are not worth a copy. */
const WORTH_BYTES = 4096;

/**
 * Where, from a line's start on, the first line begins that is not plain, or not complete in the
 * buffer. Never wrong, but not eager: it may name a plain line. Good until the next buffer is looked at.
 */
export type PlainFrom = (lineStart: number) => number;

interface Engine {
  readonly memory: Uint8Array;
  readonly plainFrom: (from: number, end: number) => number;
}

/** What is used of it; its types come with those for browsers only. */
declare const WebAssembly: {
  readonly Module: new (code: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** Opened when first wanted: most programs, and many relays, never see large mail. */
let engine: Engine | null | "closed" = "closed";

/** null for a buffer that is too small to be worth it, and where it cannot be had. */
export function plainLines(bytes: Uint8Array): PlainFrom | null {
  if (bytes.length < WORTH_BYTES) return null;
  if (engine === "closed") engine = openEngine();
  if (engine === null) return null;
  const { memory, plainFrom } = engine;
  // It looks no further than its memory reaches.
  const end = Math.min(bytes.length, memory.length);
  memory.set(end < bytes.length ? bytes.subarray(0, end) : bytes);
  return (lineStart) => plainFrom(lineStart, end);
}

/** null where there is no WebAssembly: with --jitless, without its vectors, with less than 12 GB of addresses (`ulimit -v`). */
function openEngine(): Engine | null {
  try {
    const code = new WebAssembly.Module(Buffer.from(PLAIN_LINES_CODE, "base64"));
    const { memory, plainFrom } = new WebAssembly.Instance(code).exports as {
      memory: { buffer: ArrayBuffer };
      plainFrom: Engine["plainFrom"];
    };
    return { memory: new Uint8Array(memory.buffer), plainFrom };
  } catch {
    return null;
  }
}
