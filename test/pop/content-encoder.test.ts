import assert from "node:assert/strict";
import { test } from "node:test";
import { ContentEncoder } from "../../src/pop/content-encoder.ts";

const ALL = Number.POSITIVE_INFINITY;

/** In parts of `size` bytes. */
function encoded(content: string, bodyLines: number, size: number): string {
  const encoder = new ContentEncoder(bodyLines);
  const bytes = Buffer.from(content, "latin1");
  let out = "";
  for (let at = 0; at < bytes.length && !encoder.satisfied; at += size) {
    out += encoder.encode(bytes.subarray(at, at + size)).toString("latin1");
  }
  return out + encoder.end();
}

/** The same the slow way. */
function expected(content: string, bodyLines: number): string {
  const lines = content.split("\n").map((line) => `${line}\n`);
  const last = (lines.pop() ?? "\n").slice(0, -1);
  const blank = lines.findIndex((line) => /^\r*\n$/.test(line));
  const all = last === "" ? lines : [...lines, last];
  const wanted = bodyLines === ALL || blank < 0 ? all : all.slice(0, blank + 1 + bodyLines);
  const text = wanted
    .map((line) => line.replace(/^\./, ".."))
    .map((line) => line.replace(/(?<!\r)\n$/, "\r\n"))
    .join("");
  return text === "" || text.endsWith("\n") ? `${text}.\r\n` : `${text}\r\n.\r\n`;
}

const CASES: readonly [content: string, wire: string][] = [
  ["a\r\n", "a\r\n.\r\n"],
  ["a", "a\r\n.\r\n"],
  ["a\r", "a\r\r\n.\r\n"],
  [".", "..\r\n.\r\n"],
  [".\r\n", "..\r\n.\r\n"],
  ["a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"],
  ["a\r\n..\r\n.x\r\nx.\r\n", "a\r\n...\r\n..x\r\nx.\r\n.\r\n"],
  ["a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"],
  ["a\n.\r\n-ERR\r\n", "a\r\n..\r\n-ERR\r\n.\r\n"],
  ["a\r.\r\nb\0\xff\r\n", "a\r.\r\nb\0\xff\r\n.\r\n"],
  ["a\r\r\n.\r\n", "a\r\r\n..\r\n.\r\n"],
  ["\n\n", "\r\n\r\n.\r\n"],
];

test("ContentEncoder stuffs dots, ends lines with CRLF, and ends with a dot", () => {
  for (const [content, wire] of CASES) {
    for (const size of [1, 2, 3, 100]) assert.equal(encoded(content, ALL, size), wire);
  }
});

test("ContentEncoder gives the header and so many lines of the body", () => {
  const content = "A: b\r\nC: d\r\n\r\n.one\r\ntwo\r\n\r\nthree";
  const head = "A: b\r\nC: d\r\n\r\n";
  assert.equal(encoded(content, 0, 7), `${head}.\r\n`);
  assert.equal(encoded(content, 1, 7), `${head}..one\r\n.\r\n`);
  assert.equal(encoded(content, 3, 7), `${head}..one\r\ntwo\r\n\r\n.\r\n`);
  assert.equal(encoded(content, 4, 7), `${head}..one\r\ntwo\r\n\r\nthree\r\n.\r\n`);
  assert.equal(encoded(content, 1e20, 7), `${head}..one\r\ntwo\r\n\r\nthree\r\n.\r\n`);
  assert.equal(encoded("A: b\r\n", 0, 7), "A: b\r\n.\r\n");
  assert.equal(encoded("\r\nbody\r\nmore\r\n", 1, 7), "\r\nbody\r\n.\r\n");
});

test("ContentEncoder does the same wherever the content is cut into parts", () => {
  let seed = 7;
  const next = (limit: number): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * limit);
  };
  const alphabet = ["\r\n", "\n", "\r", ".", "a", "\r\n\r\n", "\r\n."];
  for (let round = 0; round < 3000; round += 1) {
    const content = Array.from({ length: next(14) }, () => alphabet[next(alphabet.length)]).join(
      "",
    );
    const bodyLines = next(3) === 0 ? ALL : next(4);
    const size = 1 + next(4);
    assert.equal(
      encoded(content, bodyLines, size),
      expected(content, bodyLines),
      JSON.stringify({ content, bodyLines, size }),
    );
  }
});
