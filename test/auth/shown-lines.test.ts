import assert from "node:assert/strict";
import { test } from "node:test";
import { ShownLines } from "../../src/auth/shown-lines.ts";

const RESPONSE = "[authentication response not logged]";

/** What is shown of these lines, none of which answers a challenge. */
function shown(...lines: readonly string[]): string[] {
  const all = new ShownLines();
  return lines.map((line) => all.command(Buffer.from(line)));
}

test("ShownLines hides what follows the mechanism, however the command is written", () => {
  assert.deepEqual(
    shown(
      "AUTH",
      "auth login",
      "AUTH PLAIN c2VjcmV0",
      "AUTH\tPLAIN  c2VjcmV0 x",
      " AUTH PLAIN c2Vj",
    ),
    ["AUTH", "AUTH login", "AUTH PLAIN [not logged]", "AUTH PLAIN [not logged]"].concat(
      " AUTH PLAIN [not logged]",
    ),
  );
  assert.deepEqual(shown("APOP me digest", "PASS a b", "pass", " PASS x"), [
    "APOP me [not logged]",
    "PASS [not logged]",
    "PASS",
    " PASS [not logged]",
  ]);
});

test("ShownLines hides a response whose mechanism is missing", () => {
  assert.deepEqual(shown("AUTH c2VjcmV0", "AUTH AGpvZQBzZWNyZXQ="), [
    "AUTH [not logged]",
    "AUTH [not logged]",
  ]);
});

test("ShownLines hides base64 where a command should be, as long as it follows a login", () => {
  assert.deepEqual(shown("AUTH FOO", "am9l", " c2VjcmV0 ", "NOOP", "c2VjcmV0"), [
    ...["AUTH FOO", RESPONSE, RESPONSE, "NOOP", "c2VjcmV0"],
  ]);
  const lines = new ShownLines();
  assert.equal(lines.response(), RESPONSE);
  assert.equal(lines.command(Buffer.from("c2VjcmV0")), RESPONSE);
});

test("ShownLines shows commands that could be base64, and what is neither", () => {
  for (const line of ["DATA", "quit", "STARTTLS", "AUTH", "MAIL FROM:<a@b>", "a b=", "abc"]) {
    assert.deepEqual(shown("AUTH PLAIN x", line).at(1), line);
  }
});

test("ShownLines reads a line of blanks in time that grows with its length", () => {
  const blanks = " ".repeat(2_000_000);
  for (const line of [`AUTH x${blanks}y`, `AUTH${blanks}`, `${blanks}x`, `PASS x${blanks}`]) {
    assert.ok(!new ShownLines().command(Buffer.from(line)).includes("y"));
  }
});
