import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import openWabt from "wabt";
import { plainLines } from "../../src/smtp/plain-lines.ts";
import { PLAIN_LINES_CODE } from "../../src/smtp/plain-lines-code.ts";

/** Bytes. */
const PAD_LINE = 64;
const PAD = `${"p".repeat(PAD_LINE - 2)}\r\n`.repeat(64);

/** The same, line by line; it names the first line that is not plain, or not complete. */
function expected(text: string, from: number): number {
  let at = from;
  while (text[at] !== ".") {
    const end = text.indexOf("\r\n", at);
    if (end < 0 || end + 2 - at > 1000 || /[\r\n]/.test(text.slice(at, end))) break;
    at = end + 2;
  }
  return at;
}

function found(text: string, from = 0): number {
  const plainFrom = plainLines(Buffer.from(text, "latin1"));
  assert.ok(plainFrom !== null);
  return plainFrom(from);
}

/** It may miss lines that end in the last block of sixteen bytes before what is odd, or before the end. */
function check(text: string, from: number, say: unknown): void {
  const wanted = expected(text, from);
  const at = found(text, from);
  assert.ok(at === from || (at > from && text.slice(at - 2, at) === "\r\n"), JSON.stringify(say));
  assert.ok(at <= wanted, JSON.stringify(say));
  const missed = text.indexOf("\r\n", at) + 2;
  assert.ok(at === wanted || wanted - missed < 16, JSON.stringify(say));
}

test("the code is what plain-lines.wat says", async () => {
  const wabt = await openWabt();
  const text = readFileSync(new URL("../../../src/smtp/plain-lines.wat", import.meta.url), "utf8");
  const { buffer } = wabt.parseWat("plain-lines.wat", text, { simd: true }).toBinary({});
  assert.equal(PLAIN_LINES_CODE, Buffer.from(buffer).toString("base64"));
});

test("plainLines() stops at the line with anything odd, wherever that lies in a block of sixteen bytes", () => {
  // The last one looks whole to whoever forgets what a block in between has said.
  const odd = [
    "\r",
    "\n",
    "\r\r\n",
    "\n\r\n",
    "\r\n\n",
    "\r\n\r",
    "\r\n.",
    "\r\n..\r\n",
    "\n.\r\n",
    "\r\n.\r\n",
    `\r${"z".repeat(16)}\n`,
  ];
  for (const it of [...odd, "\r\n", "\r\n\r\n", "\t\b\v", "\x80\x8a\x8d\xff"]) {
    for (let before = 0; before < 34; before += 1) {
      // More than a block may follow in which there is nothing to see.
      for (const behind of [before % 5, 40]) {
        const text = `${"a".repeat(before)}${it}${"z".repeat(behind)}\r\n${PAD}`;
        check(text, 0, [it, before, behind]);
        check(`${PAD}${text}`, PAD_LINE, [it, before, behind]);
      }
    }
  }
});

test("plainLines() goes on after the line at which it has stopped", () => {
  const text = `${PAD}.dot\r\n${PAD}`;
  assert.equal(found(text), PAD.length);
  assert.equal(found(text, PAD.length), PAD.length);
  assert.equal(found(text, PAD.length + 6), text.length);
});

test("plainLines() stops at a line of more than 1000 bytes with its end", () => {
  for (const length of [980, 990, 997, 998, 999, 1000, 1005, 1020, 3000]) {
    const text = `${PAD}${"l".repeat(length)}\r\n${PAD}`;
    check(text, 0, length);
    assert.equal(found(text) > PAD.length, length <= 998, String(length));
  }
});

test("plainLines() says nothing of small buffers, of what is beyond its memory, and of incomplete lines", () => {
  assert.equal(plainLines(Buffer.from("a\r\nb\r\n")), null);
  const large = PAD.repeat(70);
  const first = found(large);
  assert.ok(first > 0 && first <= 262_144 && first % 64 === 0);
  assert.equal(found(large, 270_016), 270_016);
  assert.equal(found(`${PAD}abc`), PAD.length);
  assert.equal(found(`${PAD}abc\r`), PAD.length);
});
