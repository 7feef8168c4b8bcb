import assert from "node:assert/strict";
import { test } from "node:test";
import { reasonLines } from "../../src/spool/reasons.ts";

test("reasonLines() writes a text and a code", () => {
  assert.deepEqual(reasonLines("too\nfull", 452), [
    "X-MailRelay-Reason: too\\nfull",
    "X-MailRelay-ReasonCode: 452",
  ]);
});

test("reasonLines() leaves out a code of 0, blank included", () => {
  assert.deepEqual(reasonLines("peer disconnected", 0), [
    "X-MailRelay-Reason: peer disconnected",
    "X-MailRelay-ReasonCode:",
  ]);
});

test("reasonLines() makes one printable ASCII line of any text", () => {
  assert.equal(
    reasonLines("é\r\n\x1b[31m\0 \\ \u{1f600}", 0)[0],
    "X-MailRelay-Reason: \\xc3\\xa9\\r\\n\\x1b[31m\\x00 \\\\ \\xf0\\x9f\\x98\\x80",
  );
});
