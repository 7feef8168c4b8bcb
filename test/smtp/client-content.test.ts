import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { chunks, DotStuffer } from "../../src/smtp/client-content.ts";

function stuff(...parts: readonly string[]): string {
  const stuffer = new DotStuffer(false);
  for (const part of parts) stuffer.add(Buffer.from(part, "latin1"));
  stuffer.end();
  return Buffer.concat(stuffer.take()).toString("latin1");
}

/** The same by regular expressions, as a reader of RFC 5321 would write it. */
function expected(text: string): string {
  const lines = text.replace(/\r\n|\r|\n/g, "\r\n").replace(/(^|\r\n)\./g, "$1..");
  return `${lines}${lines === "" || lines.endsWith("\r\n") ? "" : "\r\n"}.\r\n`;
}

test("DotStuffer passes fit content without copying it", () => {
  const stuffer = new DotStuffer(false);
  const content = Buffer.from("Subject: x\r\n\r\nbody . with .. dots.\r\n");
  stuffer.add(content);
  const [only] = stuffer.take();
  assert.equal(only?.buffer, content.buffer);
  assert.equal(only?.byteOffset, content.byteOffset);
});

test("DotStuffer makes every short content fit, wherever it is cut", () => {
  const letters = ["a", ".", "\r", "\n"];
  for (let number = 0; number < 4 ** 6; number += 1) {
    const text = [0, 1, 2, 3, 4, 5].map((place) => letters[(number >> (2 * place)) & 3]).join("");
    const wanted = expected(text);
    for (let at = 0; at <= text.length; at += 1) {
      assert.equal(stuff(text.slice(0, at), text.slice(at)), wanted, JSON.stringify([text, at]));
    }
    assert.equal(stuff(...text), wanted, JSON.stringify(text));
  }
});

test("DotStuffer makes every short content fit in the middle of a large buffer", () => {
  const letters = ["a", ".", "\r", "\n"];
  const pad = `${"p".repeat(62)}\r\n`.repeat(64);
  for (let number = 0; number < 4 ** 5; number += 1) {
    const text = [0, 1, 2, 3, 4].map((place) => letters[(number >> (2 * place)) & 3]).join("");
    const large = `${pad}${"x".repeat(number % 17)}${text}${"y".repeat(number % 37)}${pad}`;
    assert.equal(stuff(large), expected(large), JSON.stringify(text));
    const end = `${pad}${"x".repeat(number % 17)}${text}`;
    assert.equal(stuff(end, pad), expected(end + pad), JSON.stringify(text));
  }
});

test("DotStuffer leaves no form of a smuggled end of message", () => {
  const breaks = ["\n", "\r", "\r\n", "\r\r\n", "\n\r", "\r\0\n"];
  for (const before of breaks) {
    for (const after of breaks) {
      const wire = stuff(`x${before}.${after}MAIL FROM:<evil@x>\r\n`);
      assert.equal(wire.indexOf("\r\n.\r\n"), wire.length - 5);
      assert.doesNotMatch(wire, /\r(?!\n)|(?<!\r)\n/);
    }
  }
});

test("DotStuffer keeps every other byte", () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, at) => at)).toString("latin1");
  assert.equal(stuff(bytes), expected(bytes));
});

test("DotStuffer counts the lines of the content", () => {
  const stuffer = new DotStuffer(true);
  stuffer.add(Buffer.from("a\r"));
  stuffer.add(Buffer.from("\n.b\nc"));
  stuffer.end();
  assert.equal(stuffer.lines, 3);
});

async function cut(limit: number, ...parts: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  const content = Readable.from(
    parts.map((part) => Buffer.from(part)),
    { objectMode: true },
  );
  for await (const { command, pieces } of chunks(content, limit)) {
    found.push(`${command}:${Buffer.concat(pieces).toString()}`);
  }
  return found;
}

test("chunks() cuts content at the limit and marks the last", async () => {
  assert.deepEqual(await cut(4, "abcdefghij"), ["BDAT 4:abcd", "BDAT 4:efgh", "BDAT 2 LAST:ij"]);
  assert.deepEqual(await cut(4, "ab", "cd", "e", "f"), ["BDAT 4:abcd", "BDAT 2 LAST:ef"]);
  assert.deepEqual(await cut(4, "abcd"), ["BDAT 4 LAST:abcd"]);
  assert.deepEqual(await cut(4), ["BDAT 0 LAST:"]);
});
