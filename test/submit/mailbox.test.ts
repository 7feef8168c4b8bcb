import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAddressList } from "../../src/submit/address-list.ts";
import { argumentAddresses, fieldAddresses, isUtf8Mailbox } from "../../src/submit/mailbox.ts";

function fromBytes(bytes: Buffer): string[] | null {
  const list = parseAddressList(bytes.toString("latin1"));
  assert.ok(list.kind === "list");
  return fieldAddresses(list.addresses);
}

test("argumentAddresses() takes one address or a list", () => {
  assert.deepEqual(argumentAddresses("a@b"), ["a@b"]);
  assert.deepEqual(argumentAddresses("a@b,c@d"), ["a@b", "c@d"]);
  assert.deepEqual(argumentAddresses("Joe <j@x>"), ["j@x"]);
});

test("argumentAddresses() removes the backslash that mail programs put in front", () => {
  assert.deepEqual(argumentAddresses("\\root,\\joe@x"), ["root", "joe@x"]);
  assert.deepEqual(argumentAddresses('"a\\"b"@c'), ['"a\\"b"@c']);
});

test("argumentAddresses() refuses control characters and lost bytes", () => {
  for (const text of [
    "a\r\nb@c",
    "a@b\nX-Evil: 1",
    'a"\\\n"@b',
    "a\ufffd@b",
    "a\u2028@b",
    "a\u0085@b",
  ]) {
    assert.equal(argumentAddresses(text), null, JSON.stringify(text));
  }
});

test("argumentAddresses() refuses addresses that no line can hold", () => {
  assert.equal(argumentAddresses(`${"a".repeat(900)}@b`), null);
});

test("domains become A-labels, ASCII ones stay as they are", () => {
  assert.deepEqual(argumentAddresses("a@M\u00fcnchen.de,b@ExAmPle.ORG,c@1.2.3,d@[1.2.3.4]"), [
    "a@xn--mnchen-3ya.de",
    "b@ExAmPle.ORG",
    "c@1.2.3",
    "d@[1.2.3.4]",
  ]);
});

test("a domain that only a URL parser would take is refused", () => {
  for (const domain of [
    "%41.\u00fc",
    "a/b.\u00fc",
    "\u00fc#a",
    "\u00fc.1",
    "xn--\u00fc.de",
    "a\u3002\u3002\u00fc",
  ]) {
    assert.equal(argumentAddresses(`x@${domain}`), null, domain);
  }
});

test("fieldAddresses() reads bytes as UTF-8, and lets a latin1 name be", () => {
  assert.deepEqual(fromBytes(Buffer.from("<j\u00f6@m\u00fc.de>")), ["j\u00f6@xn--m-eha.de"]);
  assert.deepEqual(fromBytes(Buffer.from("J\u00f6rg <j@x.y>", "latin1")), ["j@x.y"]);
});

test("fieldAddresses() refuses an address in another character set", () => {
  assert.equal(fromBytes(Buffer.from("j\u00f6@x.y", "latin1")), null);
});

test("isUtf8Mailbox() looks at the part before the last @ only", () => {
  assert.equal(isUtf8Mailbox("j\u00f6@x"), true);
  assert.equal(isUtf8Mailbox("j@m\u00fc"), false);
  assert.equal(isUtf8Mailbox("j\u00f6"), true);
});
