import assert from "node:assert/strict";
import { test } from "node:test";
import { splitContent, untilDot } from "../../src/submit/content.ts";

async function* from(...chunks: (string | Buffer)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks)
    yield typeof chunk === "string" ? Buffer.from(chunk, "latin1") : chunk;
}

async function text(source: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks).toString("latin1");
}

async function split(...chunks: (string | Buffer)[]): Promise<[string, string]> {
  const { header, body } = await splitContent(from(...chunks));
  return [header, await text(body)];
}

test("splitContent() ends the header at the first empty line", async () => {
  assert.deepEqual(await split("A: b\n\nc\n\nd\n"), ["A: b\r\n", "c\r\n\r\nd\r\n"]);
});

test("splitContent() takes CRLF and LF alike", async () => {
  assert.deepEqual(await split("A: b\r\nC: d\n\r\ne\r\nf\n"), ["A: b\r\nC: d\r\n", "e\r\nf\r\n"]);
});

test("splitContent() finds the same wherever the chunks are cut", async () => {
  const whole = "A: b\r\nC: d\n\ne\r\r\nf\rg\n\n.\n..\nend";
  const expected = await split(whole);
  for (let cut = 1; cut < whole.length; cut++) {
    assert.deepEqual(await split(whole.slice(0, cut), whole.slice(cut)), expected, String(cut));
  }
  assert.deepEqual(await split(...whole), expected);
});

test("splitContent() without an empty line has no body", async () => {
  assert.deepEqual(await split("A: b\nC: d"), ["A: b\r\nC: d\r\n", ""]);
});

test("splitContent() of nothing is nothing", async () => {
  assert.deepEqual(await split(), ["", ""]);
});

test("splitContent() with an empty first line has no header", async () => {
  assert.deepEqual(await split("\nbody"), ["", "body\r\n"]);
  assert.deepEqual(await split("\r", "\nbody\r\n"), ["", "body\r\n"]);
});

test("splitContent() keeps a line of blanks in the header", async () => {
  assert.deepEqual(await split("A: b\n \nC: d\n\ne\n"), ["A: b\r\n \r\nC: d\r\n", "e\r\n"]);
});

test("splitContent() keeps every byte of the body but line ends", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const [, body] = await split("\n", bytes, "\n");
  assert.equal(body, bytes.toString("latin1").replace("\n", "\r\n").concat("\r\n"));
});

test("splitContent() keeps a CR that is not at the end of a line", async () => {
  assert.deepEqual(await split("\na\rb\r\r\nc\r"), ["", "a\rb\r\r\nc\r\n"]);
});

test("splitContent() refuses a header without end", async () => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield Buffer.from("X: y\n".repeat(1000));
  }
  await assert.rejects(splitContent(endless()), /header is larger than 4194304 bytes/);
});

test("splitContent() takes a header of a megabyte", async () => {
  const line = "X-Long: 0123456789\r\n";
  const header = line.repeat(52_429);
  assert.deepEqual(await split(header, "\r\nbody\r\n"), [header, "body\r\n"]);
});

test("untilDot() ends at a line that is only a dot", async () => {
  assert.equal(await text(untilDot(from("a\n", ".b\n..\n", ".\n", "c\n"))), "a\n.b\n..\n");
  assert.equal(await text(untilDot(from("a\r\n.\r\nc"))), "a\r\n");
  assert.equal(await text(untilDot(from(".\nc"))), "");
});

test("untilDot() passes everything when there is no such line", async () => {
  assert.equal(await text(untilDot(from("a\n. \n", " .\n.x"))), "a\n. \n .\n.x");
});
