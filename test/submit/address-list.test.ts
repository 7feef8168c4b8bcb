import assert from "node:assert/strict";
import { test } from "node:test";
import addressparser from "nodemailer/lib/addressparser";
import { parseAddressList } from "../../src/submit/address-list.ts";

function addresses(text: string): string[] {
  const list = parseAddressList(text);
  if (list.kind === "invalid") assert.fail(`${text}: ${list.why}`);
  return list.addresses.map(({ local, domain }) => (domain === "" ? local : `${local}@${domain}`));
}

function complaint(text: string): string {
  const list = parseAddressList(text);
  return list.kind === "invalid" ? `${list.at}: ${list.why}` : `accepted ${JSON.stringify(list)}`;
}

test("parseAddressList() reads plain and named addresses", () => {
  assert.deepEqual(addresses('a@b, Joe Q. Public <joe@x.y>,"Doe, J." <j@d>'), [
    "a@b",
    "joe@x.y",
    "j@d",
  ]);
});

test("parseAddressList() tells where the addr-spec alone stands", () => {
  const text = 'x@y, "N" (c) <@route:a.b@(d)c.de>';
  const list = parseAddressList(text);
  assert.ok(list.kind === "list");
  assert.deepEqual(
    list.addresses.map(({ start, end }) => text.slice(start, end)),
    ["x@y", "a.b@(d)c.de"],
  );
});

test("parseAddressList() leaves comments out, nested and with quoted parentheses", () => {
  assert.deepEqual(addresses("a (one (two) \\) three) @ (x) b . c (y)"), ["a@b.c"]);
});

test("parseAddressList() takes the members of groups and nothing of empty ones", () => {
  assert.deepEqual(addresses("undisclosed-recipients:;, g: a@b, C <c@d>;, e@f"), [
    "a@b",
    "c@d",
    "e@f",
  ]);
});

test("parseAddressList() lets the end of the text close a group", () => {
  assert.deepEqual(addresses("undisclosed-recipients:"), []);
});

test("parseAddressList() drops source routes", () => {
  assert.deepEqual(addresses("<@one,@two:a@b>, <,@r.s:c@d>"), ["a@b", "c@d"]);
});

test("parseAddressList() keeps quoted local parts quoted", () => {
  assert.deepEqual(addresses('"a b"@c, "x@evil"@y, "q\\"q"@z, "a".b@c'), [
    '"a b"@c',
    '"x@evil"@y',
    '"q\\"q"@z',
    '"a".b@c',
  ]);
});

test("parseAddressList() takes domain literals", () => {
  assert.deepEqual(addresses("a@[127.0.0.1], <b@[IPv6:::1]>"), ["a@[127.0.0.1]", "b@[IPv6:::1]"]);
});

test("parseAddressList() reads across folds, also inside quotes", () => {
  assert.deepEqual(addresses(' a@b,\r\n\tc@d,\r\n "e\r\n f"@g,\r\n h@\r\n i'), [
    "a@b",
    "c@d",
    '"e f"@g',
    "h@i",
  ]);
});

test("parseAddressList() takes a local name without domain", () => {
  assert.deepEqual(addresses("root, Admin <postmaster>"), ["root", "postmaster"]);
});

test("parseAddressList() skips empty elements", () => {
  assert.deepEqual(addresses(" , ,a@b,, "), ["a@b"]);
});

test("parseAddressList() counts characters above 127 as letters", () => {
  assert.deepEqual(addresses("J\u00f6rg <j\u00f6@m\u00fc.de>"), ["j\u00f6@m\u00fc.de"]);
});

test("parseAddressList() agrees with another parser on well-formed lists", () => {
  const lists = [
    "a@b.c",
    "A <a@b.c>, B <d@e.f>",
    '"Last, First" <x@y.z>, plain@w.v',
    "Team: a@b.c, Bee <d@e.f>;",
    "a@b.c (comment, with comma)",
    "=?utf-8?q?J=C3=B6rg?= <j@x.y>",
  ];
  for (const text of lists) {
    const theirs = addressparser(text, { flatten: true }).map((one) => one.address);
    assert.deepEqual(addresses(text), theirs, text);
  }
});

test("parseAddressList() names what is wrong and where", () => {
  assert.equal(complaint("a b@c"), "2: words without a dot between them");
  assert.equal(complaint("<a@b> <c@d>"), '6: unexpected "<"');
  assert.equal(complaint("a@b@c"), '3: unexpected "@"');
  assert.equal(complaint("a@b;"), '3: unexpected ";"');
  assert.equal(complaint("g:h:a@b;"), '3: unexpected ":"');
  assert.equal(complaint("a@b..c"), "2: empty domain or domain label");
  assert.equal(complaint("a@b."), "2: empty domain or domain label");
  assert.equal(complaint('a@"b"'), "2: quoted domain");
  assert.equal(complaint("@b"), "0: no local part");
  assert.equal(complaint("<>"), "1: empty address");
  assert.equal(complaint("<a@b"), "4: unexpected end");
  assert.equal(complaint("x, \x01@b"), "3: character that must be quoted");
  assert.equal(complaint('"a\0"@b'), "2: control character");
  assert.equal(complaint('"a\\\r\nb"@c'), "4: control character");
});

test("parseAddressList() does not take half of an encoded name for a recipient", () => {
  assert.equal(complaint("=?utf-8?q?a,b?= <x@y>"), "0: name without address");
});

test("parseAddressList() refuses what is never closed", () => {
  assert.equal(complaint('x, "abc'), "3: unclosed quotes");
  assert.equal(complaint("x (abc"), "2: unclosed comment");
  assert.equal(complaint("a@[1.2"), "2: unclosed domain literal");
  assert.equal(complaint("a@[1[2]"), "2: unclosed domain literal");
});

test("parseAddressList() bears hostile texts of a megabyte", () => {
  const size = 1 << 20;
  assert.match(complaint("(".repeat(size)), /unclosed comment/);
  assert.match(complaint('"\\'.repeat(size / 2)), /quotes|dot/);
  assert.match(complaint("<".repeat(size)), /empty address/);
  assert.match(complaint("@a,".repeat(size / 3)), /no local part/);
  assert.deepEqual(addresses(`${"(".repeat(size)}${")".repeat(size)}a@b`), ["a@b"]);
  assert.equal(addresses("a@b,".repeat(size / 4)).length, size / 4);
});
