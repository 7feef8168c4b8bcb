import assert from "node:assert/strict";
import { test } from "node:test";
import { LineReader } from "../../src/smtp/line.ts";

function lines(pieces: readonly string[], limit: number): string[] {
  const reader = new LineReader(limit);
  const found: string[] = [];
  for (const piece of pieces) {
    reader.push(Buffer.from(piece, "latin1"));
    for (let line = reader.line(); line !== null; line = reader.line()) found.push(line.toString());
  }
  return found;
}

test("LineReader ends lines at CRLF only, wherever the bytes are split", () => {
  const wire = "A\r\nB\nC\r\n\r\nD\rE\r\r\n\n\r\nF";
  const wanted = ["A", "B\nC", "", "D\rE\r", "\n"];
  assert.deepEqual(lines(wire.split(""), 100), wanted);
  for (let at = 0; at <= wire.length; at += 1) {
    assert.deepEqual(lines([wire.slice(0, at), wire.slice(at)], 100), wanted);
  }
});

test("LineReader takes a line of the limit, and says once that a longer one was there", () => {
  const wire = `${"x".repeat(8)}\r\n${"y".repeat(9)}\r\n${"z".repeat(50)}\rz\n\r\nok\r\n`;
  const wanted = ["xxxxxxxx", "too long", "too long", "ok"];
  assert.deepEqual(lines([wire], 8), wanted);
  assert.deepEqual(lines(wire.split(""), 8), wanted);
  for (let at = 0; at <= wire.length; at += 1) {
    assert.deepEqual(lines([wire.slice(0, at), wire.slice(at)], 8), wanted);
  }
});

test("LineReader keeps nothing of an endless line", () => {
  const reader = new LineReader(100);
  for (let i = 0; i < 100; i += 1) {
    reader.push(Buffer.alloc(1000, "x"));
    assert.equal(reader.line(), null);
    assert.ok(reader.pending <= 1);
    assert.ok(reader.partial);
  }
});

test("LineReader forgets half a line when cleared", () => {
  const reader = new LineReader(100);
  reader.push(Buffer.from("A\r\nNO"));
  reader.line();
  reader.clear();
  reader.push(Buffer.from("OP\r\n"));
  assert.equal(reader.line()?.toString(), "OP");
});
