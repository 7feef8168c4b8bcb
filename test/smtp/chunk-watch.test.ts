import assert from "node:assert/strict";
import { test } from "node:test";
import { ChunkWatch } from "../../src/smtp/chunk-watch.ts";
import type { BareNewlines } from "../../src/smtp/data.ts";

function watched(pieces: readonly string[], policy: BareNewlines): ChunkWatch {
  const watch = new ChunkWatch(policy);
  for (const piece of pieces) watch.push(Buffer.from(piece, "latin1"));
  return watch;
}

/** Every text of up to four of these characters. */
function* texts(): Iterable<string> {
  let longer = [""];
  for (let length = 1; length <= 4; length += 1) {
    longer = longer.flatMap((text) => ["\r", "\n", "x", "\0"].map((more) => text + more));
    yield* longer;
  }
}

test("ChunkWatch finds NUL and bare CR and LF, wherever the chunks end", () => {
  for (const text of texts()) {
    const bare = /[\r\n]/.test(text.replaceAll("\r\n", "")) ? 1 : 0;
    for (let at = 1; at <= text.length; at += 1) {
      const pieces = [text.slice(0, at), text.slice(at)].filter((piece) => piece !== "");
      const watch = watched(pieces, "reject");
      const found = { bare: watch.bareNewlines, nul: watch.nul };
      assert.deepEqual(found, { bare, nul: text.includes("\0") }, JSON.stringify(pieces));
    }
  }
});

test("ChunkWatch lets bare CR and LF pass unless they are refused, NUL never", () => {
  for (const policy of ["fix", "accept"] as const) {
    const watch = watched(["a\n\r", "\0"], policy);
    assert.deepEqual([watch.bareNewlines, watch.nul], [0, true]);
  }
});
