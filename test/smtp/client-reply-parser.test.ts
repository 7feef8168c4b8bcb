import assert from "node:assert/strict";
import { test } from "node:test";
import { type Heard, ReplyParser } from "../../src/smtp/reply-parser.ts";

function parse(...chunks: readonly string[]): readonly (string | null)[] {
  const parser = new ReplyParser();
  const heard: (string | null)[] = [];
  for (const chunk of chunks) {
    parser.push(Buffer.from(chunk, "latin1"));
    for (let next = parser.next(); next !== null; next = parser.next()) {
      heard.push(shown(next));
      if (next.kind === "invalid") return heard;
    }
  }
  if (!parser.empty) heard.push(null);
  return heard;
}

const shown = (heard: Heard): string =>
  heard.kind === "invalid" ? `invalid ${heard.line}` : `${heard.reply.code} ${heard.reply.text}`;

test("ReplyParser joins the lines of a reply by LF", () => {
  assert.deepEqual(parse("250-a\r\n250-b c\r\n250 d\r\n"), ["250 a\nb c\nd"]);
});

test("ReplyParser takes a code without text", () => {
  assert.deepEqual(parse("250\r\n"), ["250 "]);
});

test("ReplyParser finds the same replies wherever the bytes are cut", () => {
  const text = "220-x\r\n220 y\r\n354\r\n550 5.1.1 no\r\n";
  for (let at = 0; at <= text.length; at += 1) {
    const found = parse(text.slice(0, at), text.slice(at));
    assert.deepEqual(
      found.filter((one) => one !== null),
      ["220 x\ny", "354 ", "550 5.1.1 no"],
    );
  }
  assert.equal(parse(...text).filter((one) => one !== null).length, 3);
});

test("ReplyParser is not empty within a reply", () => {
  assert.deepEqual(parse("250-a\r\n"), [null]);
  assert.deepEqual(parse("25"), [null]);
  assert.deepEqual(parse(""), []);
});

test("ReplyParser refuses a reply whose lines differ in code", () => {
  assert.deepEqual(parse("250-ok\r\n550 no\r\n"), ["invalid 550 no"]);
});

test("ReplyParser refuses what is not exactly a reply", () => {
  for (const line of [
    "2",
    "25 ok",
    "2garbage",
    "250ok",
    "250_ok",
    " 250 ok",
    "2500",
    "099 x",
    "",
  ]) {
    assert.deepEqual(parse(`${line}\r\n`), [`invalid ${line}`]);
  }
  assert.deepEqual(parse("199 x\r\n"), ["invalid 199 x"]);
  assert.deepEqual(parse("600 x\r\n"), ["invalid 600 x"]);
  assert.deepEqual(parse("250 a\0b\r\n"), ["invalid 250 a\0b"]);
  assert.deepEqual(parse("250 a\rb\r\n"), ["invalid 250 a"]);
});

test("ReplyParser gives up on an endless line before its end", () => {
  assert.match(parse("250 ", "x".repeat(9000))[0] ?? "", /^invalid 250 xxx/);
});

test("ReplyParser gives up on an endless reply", () => {
  const found = parse(...Array.from({ length: 10_000 }, () => "250-more\r\n"));
  assert.equal(found[0], "invalid 250-more");
});
