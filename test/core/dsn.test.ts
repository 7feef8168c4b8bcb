import assert from "node:assert/strict";
import { test } from "node:test";
import { type Dsn, dsnLines, dsnOf, originalRecipient, parseOrcpt } from "../../src/core/dsn.ts";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/spool/envelope-format.ts";

const nothing: Dsn = { ret: null, envid: null, recipients: new Map() };

const everything: Dsn = {
  ret: "FULL",
  envid: "id+2B1",
  recipients: new Map([
    ["b@x", { notify: ["SUCCESS", "FAILURE", "DELAY"], orcpt: "rfc822;b+2Bc@x" }],
    ['"a b"=+@x', { notify: ["NEVER"], orcpt: null }],
    ["δ@x", { notify: null, orcpt: "utf-8;\\x{3B4}@x" }],
  ]),
};

test("dsnOf() reads what dsnLines() has written, through an envelope file", () => {
  const trailer = dsnLines(everything);
  const file = encodeEnvelope({ ...emptyEnvelope, from: "a@y", toRemote: ["b@x"], trailer }, "x");
  assert.deepEqual(dsnOf(decodeEnvelope(file, "x").trailer), everything);
  assert.deepEqual(dsnLines(nothing), []);
});

test("dsnLines() says nothing of a recipient about whom nothing was said", () => {
  const recipients = new Map([["b@x", { notify: null, orcpt: null }]]);
  assert.deepEqual(dsnLines({ ...nothing, recipients }), []);
});

test("dsnOf() takes the first of several lines, and none that is damaged", () => {
  for (const line of [
    "X-Relayd-Dsn-Ret: ALL",
    "X-Relayd-Dsn-Ret:FULL",
    "X-Relayd-Dsn-Envid: a b",
    "X-Relayd-Dsn-Envid: a+0D+0AQUIT",
    `X-Relayd-Dsn-Envid: ${"x".repeat(101)}`,
    "X-Relayd-Dsn-Rcpt: b@x",
    "X-Relayd-Dsn-Rcpt: b@x NOTIFY=",
    "X-Relayd-Dsn-Rcpt: b@x NOTIFY=NEVER,DELAY",
    "X-Relayd-Dsn-Rcpt: b@x  NOTIFY=NEVER",
    "X-Relayd-Dsn-Rcpt: b@x NOTIFY=NEVER ORCPT=rfc822;",
    "X-Relayd-Dsn-Rcpt: b@x ORCPT=rfc822;x NOTIFY=NEVER",
    "X-Relayd-Dsn-Rcpt: b+@x NOTIFY=NEVER",
    "X-Relayd-Dsn-Other: 1",
  ]) {
    const { ret, envid, recipients } = dsnOf([line]);
    const said = [...recipients.values()].some((one) => one.notify !== null || one.orcpt !== null);
    assert.deepEqual([ret, envid, said], [null, null, false], line);
  }
  const twice = dsnOf([
    "X-Relayd-Dsn-Rcpt: b@x NOTIFY=NEVER",
    "X-Relayd-Dsn-Ret: HDRS",
    "X-Relayd-Dsn-Rcpt: b@x NOTIFY=SUCCESS",
    "X-Relayd-Dsn-Ret: FULL",
  ]);
  assert.deepEqual([twice.ret, twice.recipients.get("b@x")?.notify], ["HDRS", ["NEVER"]]);
});

test("parseOrcpt() takes a type and xtext, and writes beyond ASCII as RFC 6533 does", () => {
  assert.equal(parseOrcpt("X-other;any+2Dthing"), "X-other;any+2Dthing");
  assert.equal(parseOrcpt("UTF-8;\u00e4\u{1F4E7}@x"), "UTF-8;\\x{E4}\\x{1F4E7}@x");
  for (const bad of [
    ...["", ";", "rfc822", "rfc822;", ";a@x", "rfc(822;a", "rfc822;\u00e4@x", "rfc822;a+@x"],
    ...["utf-8;a+2B@x", "utf-8;\\x{D800}", "utf-8;\\x{A}", "utf-8;\\x{85}", "utf-8;\\x{110000}"],
    `rfc822;${"a".repeat(500)}`,
  ]) {
    assert.equal(parseOrcpt(bad), null, bad);
  }
});

test("originalRecipient() resolves what the wire form hides", () => {
  const address = (orcpt: string) => originalRecipient(orcpt).address;
  assert.equal(address("rfc822;b+2Bc@x"), "b+c@x");
  assert.equal(address("utf-8;\\x{E4}\\x{1F4E7}+2B@x"), "\u00e4\u{1F4E7}+2B@x");
  assert.deepEqual(originalRecipient("x400;/c=us/"), { type: "x400", address: "/c=us/" });
});
