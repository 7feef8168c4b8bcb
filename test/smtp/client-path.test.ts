import assert from "node:assert/strict";
import { test } from "node:test";
import { fitsPath, namable, unnamable } from "../../src/smtp/client-path.ts";

test("fitsPath() lets pass what is odd and ends where it does", () => {
  const odd = ["", "postmaster", "a b@c", "a@b c", "a@@b", "a,b@c", "a\\@b", "ü b@c", "a)b@c"];
  const quoted = [
    '"a b"@c',
    '"a > b"@c',
    '"a\\"b"@c',
    '"@c"',
    '""@c',
    'a"b"@c',
    '"a"b@c',
    "(x)a@b",
  ];
  for (const address of [...odd, ...quoted]) assert.ok(fitsPath(address), address);
});

test("fitsPath() refuses what ends the path, or opens what is not closed", () => {
  const ends = ["a@b>", "a>b@c", 'a">"b@c', '"a">b@c', "a\\>b@c", '"a" ">"@c'];
  const opens = [
    "a<b@c",
    '"a@b',
    'a"b@c',
    '"a\\"@b',
    "a(b@c",
    "a@b\\",
    'a\\"b"@c',
    "a\\\\@b",
    'a("b)@c',
  ];
  for (const address of [...ends, ...opens]) assert.ok(!fitsPath(address), address);
});

test("fitsPath() refuses what brings a parameter or a line of its own, and blanks at the ends", () => {
  const parameters = ["a@b SIZE=1", "a@b BODY=7BIT c", "a SMTPUTF8 b@c", "a\u00a0X-Y=1"];
  const lines = ["a@b\r\nRSET", "a@b\nDATA", "a\u2028b", "a\0@b", "a\u0085@b", "\u001b[2Ja@b"];
  for (const address of [...parameters, ...lines, " ", " a@b", "a@b "]) {
    assert.ok(!fitsPath(address), JSON.stringify(address));
  }
});

test("every recipient is either namable or not, once", () => {
  const recipients = ["a@b", "", "a<b@c", "a@b", "c@d", "a<b@c"];
  assert.deepEqual(namable(recipients), ["a@b", "c@d"]);
  assert.deepEqual(
    unnamable(recipients).map(({ recipient, reply }) => [recipient, reply.code]),
    [
      ["", 0],
      ["a<b@c", 0],
    ],
  );
});
