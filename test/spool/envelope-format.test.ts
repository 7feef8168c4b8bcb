import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { type Envelope, emptyEnvelope } from "../../src/core/envelope.ts";
import { RelayError } from "../../src/core/errors.ts";
import { copyIfUsual, decodeEnvelope, encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { property, text } from "../support/property.ts";

const GOLDEN = join(import.meta.dirname, "../../../test/spool/golden");
const golden = (name: string): Buffer => readFileSync(join(GOLDEN, `${name}.envelope`));
const decode = (text: string | Buffer): Envelope => decodeEnvelope(Buffer.from(text), "x.envelope");

function whyOf(text: string): string {
  try {
    decode(text);
  } catch (error) {
    assert.ok(error instanceof RelayError && error.code === "ENVELOPE_SYNTAX");
    return error.message;
  }
  return "";
}

const upTo3: Envelope = {
  ...emptyEnvelope,
  body: "8bit",
  from: "alice@example.com",
  toRemote: ["bob@example.net", '"carol x"@example.net'],
};
const upTo5 = { ...upTo3, mailFromAuthIn: "a+2Bb", mailFromAuthOut: "<>" };
const upTo6 = { ...upTo5, forwardTo: "One.com:2525", forwardToAddress: "127.0.0.1:2525" };

const MEANING: Record<string, Envelope> = {
  "format-3": upTo3,
  "format-4": upTo3,
  "format-5": upTo5,
  "format-6": upTo6,
  "format-7": upTo6,
  "format-8": { ...upTo6, clientAccountSelector: "second" },
};

test("decodeEnvelope() reads all six formats with either line end", () => {
  for (const [name, meaning] of Object.entries(MEANING)) {
    assert.deepEqual(decode(golden(`${name}-crlf`)), meaning, name);
    assert.deepEqual(decode(golden(`${name}-lf`)), meaning, name);
  }
});

test("encodeEnvelope() writes back every #2821.8 file byte for byte", () => {
  const names = readdirSync(GOLDEN).filter((name) => name.endsWith(".envelope"));
  const latest = names.filter((name) => !/format-[3-7]|-lf/.test(name));
  assert.equal(latest.length, 6);
  for (const name of latest) {
    const bytes = readFileSync(join(GOLDEN, name));
    assert.equal(encodeEnvelope(decode(bytes), name).toString(), bytes.toString(), name);
  }
});

test("encodeEnvelope() turns an older format into #2821.8", () => {
  const rewritten = encodeEnvelope(decode(golden("format-7-lf")), "").toString();
  const expected = golden("format-8-crlf").toString().replace(": second", ": ");
  assert.equal(rewritten, expected);
});

test("decodeEnvelope() keeps the lines after the end and the order of recipients", () => {
  assert.deepEqual(decode(golden("failed-twice")).trailer, [
    "X-MailRelay-Reason: one or more recipients rejected",
    "X-MailRelay-ReasonCode: 250",
    "X-MailRelay-Reason: one or more recipients rejected",
    "X-MailRelay-ReasonCode: 250",
  ]);
  const { toLocal, toRemote } = decode(golden("certificate"));
  assert.deepEqual([toLocal, toRemote], [["mbox1"], ["new@addr"]]);
});

test("decodeEnvelope() unfolds a certificate into its own lines", () => {
  const { clientCertificate } = decode(golden("certificate"));
  assert.match(
    clientCertificate,
    /^-----BEGIN CERTIFICATE-----\nMIIB[^ ]+\n[^ ]+\n-----END CERTIFICATE-----$/,
  );
});

test("decodeEnvelope() unfolds any other field", () => {
  const text = golden("first-session")
    .toString()
    .replace(": alice@example.com", ': "a\r\n\tb"@example.com');
  assert.equal(decode(text).from, '"a b"@example.com');
});

test("decodeEnvelope() says what is wrong in E-MailRelay's words", () => {
  const good = golden("format-8-crlf").toString();
  assert.equal(whyOf(good.replace("#2821.8", "#2821.9")), "unknown format id: #2821.9");
  assert.equal(
    whyOf(good.replace("X-MailRelay-From: ", "X-MailRelay-From:")),
    'expected "X-MailRelay-From:"',
  );
  assert.equal(
    whyOf(good.replace("MailRelay-Client:", "MailRelay-Klient:")),
    'expected "X-MailRelay-Client:"',
  );
  assert.equal(whyOf(good.replace("ToCount: 2", "ToCount: 3")), "bad 'to' line");
  assert.equal(
    whyOf(good.replace("ToCount: 2", "ToCount: 1")),
    'expected "X-MailRelay-Authentication:"',
  );
  assert.equal(whyOf(good.replace("ToCount: 2", "ToCount: two")), "bad 'to' line");
  assert.equal(whyOf(good.replace("X-MailRelay-End: 1\r\n", "")), "no end line");
  assert.equal(whyOf(""), 'expected "X-MailRelay-Format:"');
  assert.equal(
    whyOf(good.replace("AuthIn: a+2Bb", "AuthIn: a+zz")),
    'invalid xtext in "X-MailRelay-MailFromAuthIn:"',
  );
});

test("decodeEnvelope() takes an empty value without the blank", () => {
  const text = golden("first-session")
    .toString()
    .replace("X-MailRelay-ForwardTo: ", "X-MailRelay-ForwardTo:");
  assert.equal(decode(text).forwardTo, "");
});

test("decodeEnvelope() refuses control characters and bytes that are not UTF-8 in a field", () => {
  const good = golden("first-session").toString();
  for (const bad of ["\0", "\u001b", "\r", "\u007f", "\u0085"]) {
    assert.match(
      whyOf(good.replace("alice@", `al${bad}ice@`)),
      /^control character in "X-MailRelay-From:"$/,
    );
  }
  const latin1 = Buffer.from(good.replace("alice@", "al\u00efce@"), "latin1");
  assert.throws(() => decode(latin1), /invalid UTF-8/);
});

test("encodeEnvelope() refuses a control character in any field", () => {
  const texts = [
    "from",
    "authentication",
    "client",
    "clientCertificate",
    "mailFromAuthIn",
    "mailFromAuthOut",
    "forwardTo",
    "forwardToAddress",
    "clientAccountSelector",
  ] as const;
  for (const field of texts) {
    const forged = { ...emptyEnvelope, [field]: "x\r\nX-MailRelay-To-Remote: evil@example.com" };
    assert.throws(() => encodeEnvelope(forged, "x"), { code: "ENVELOPE_SYNTAX" }, field);
  }
  for (const field of ["toLocal", "toRemote", "trailer"] as const) {
    const forged = { ...emptyEnvelope, [field]: ["x\nX-MailRelay-End: 1"] };
    assert.throws(() => encodeEnvelope(forged, "x"), { code: "ENVELOPE_SYNTAX" }, field);
  }
});

{
  const value = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom("", "a@b.test", "+", "<>", "two words", "a+2Bb") },
    { weight: 1, arbitrary: fc.constantFrom("é", " a", "a ", "a\u{a0}", "\ud800", "+2", "\ufffd") },
    { weight: 1, arbitrary: text },
  );
  const envelope: fc.Arbitrary<Envelope> = fc.record({
    body: fc.constantFrom("7bit", "8bit", "binarymime", "unknown"),
    from: value,
    toLocal: fc.array(value, { maxLength: 2 }),
    toRemote: fc.array(value, { maxLength: 2 }),
    authentication: value,
    client: value,
    clientCertificate: fc.oneof({ weight: 8, arbitrary: fc.constant("") }, value),
    mailFromAuthIn: value,
    mailFromAuthOut: value,
    forwardTo: value,
    forwardToAddress: value,
    clientAccountSelector: value,
    utf8Mailboxes: fc.boolean(),
    trailer: fc.oneof({ weight: 8, arbitrary: fc.constant([]) }, fc.array(value, { maxLength: 2 })),
  });
  let usual = 0;
  let others = 0;
  property("copyIfUsual() has what is read back, or nothing", envelope, (given) => {
    const copy = copyIfUsual(given);
    if (copy === null) others += 1;
    else {
      usual += 1;
      assert.deepEqual(decode(encodeEnvelope(given, "")), copy);
      assert.notEqual(copy.toRemote, given.toRemote);
    }
  });

  test("copyIfUsual() has been tried with envelopes of both kinds", () => {
    assert.ok(usual > 10 && others > 10, `${usual} usual, ${others} others`);
  });
}
