import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogField } from "../../src/core/config.ts";
import { cut, formatLine, type LineContext, oneLine } from "../../src/observe/line-format.ts";

const context: LineContext = {
  program: "emailrelay",
  now: new Date(2026, 10, 21, 1, 53, 26, 8).getTime(),
  fields: [],
  unit: "in",
  peer: { address: "127.0.0.1", port: 39998 },
  id: "emailrelay.580.1795226008.1",
};

test("formatLine() writes program, level and text, and the local time on request", () => {
  assert.equal(formatLine("info", "hello", context), "emailrelay: info: hello");
  assert.equal(
    formatLine("warning", "hello", { ...context, fields: ["time"] }),
    "emailrelay: 20261121.015326.008: warning: hello",
  );
});

test("formatLine() writes the parts of the context that were asked for, in a fixed order", () => {
  const line = (...fields: LogField[]) => formatLine("info", "x", { ...context, fields });
  assert.equal(line("unit"), "emailrelay: info: [in] x");
  assert.equal(line("address"), "emailrelay: info: 127.0.0.1; x");
  assert.equal(line("port"), "emailrelay: info: 39998: x");
  assert.equal(line("msgid"), "emailrelay: info: (580.1795226008.1) x");
  assert.equal(
    line("msgid", "port", "address", "unit"),
    "emailrelay: info: [in] 127.0.0.1;39998: (580.1795226008.1) x",
  );
  const bare: LineContext = { ...context, unit: "", peer: null, id: "" };
  const fields: LogField[] = ["unit", "address", "port", "msgid"];
  assert.equal(formatLine("info", "x", { ...bare, fields }), "emailrelay: info: x");
});

test("formatLine() cuts long texts at 1000 characters and never through one", () => {
  assert.equal(cut("x".repeat(1000)), "x".repeat(1000));
  assert.equal(cut("x".repeat(1001)), `${"x".repeat(1000)} ...`);
  assert.equal(cut(`${"x".repeat(999)}😀y`), `${"x".repeat(999)} ...`);
  assert.equal(
    formatLine("info", "\r".repeat(5000), context),
    `emailrelay: info: ${"\\r".repeat(500)} ...`,
  );
});

test("oneLine() keeps a line one line, whatever is in it, and leaves ordinary text alone", () => {
  const fine = 'MAIL FROM:<"böb"@例え.test> \\ 😀';
  assert.equal(oneLine(fine), fine);
  assert.equal(oneLine("a\r\nrelayd: info: b"), "a\\r\\nrelayd: info: b");
  assert.equal(oneLine("\u001b[31mred"), ".[31mred");
  assert.equal(oneLine("\0\x07\t\x7f"), "\\x00\\x07\\t\\x7f");
  assert.equal(oneLine("\u0085\u009b1m"), "\\x85\\x9b1m");
  assert.equal(oneLine("a\u2028b\u2029c\u202ed"), "a\\u2028b\\u2029c\\u202ed");
});

test("formatLine() is safe in its context too", () => {
  const peer = { address: "fe80::1%\n\u001b", port: 1 };
  assert.equal(
    formatLine("info", "x", { ...context, fields: ["address"], peer }),
    "emailrelay: info: fe80::1%\\n.; x",
  );
});
