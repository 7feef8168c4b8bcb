import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeBase64 } from "../../src/auth/base64.ts";
import { idKey, parseSecrets } from "../../src/auth/secrets.ts";
import { patternsOf } from "../../src/auth/trust-pattern.ts";
import { lexConfigFile } from "../../src/config/file.ts";
import { dsnLines, dsnOf } from "../../src/core/dsn.ts";
import { parseEndpoint } from "../../src/core/endpoint.ts";
import { type Envelope, emptyEnvelope } from "../../src/core/envelope.ts";
import { RelayError } from "../../src/core/errors.ts";
import { decodeXtext, decodeXtextBytes, encodeXtext } from "../../src/core/xtext.ts";
import { parseMxTarget } from "../../src/filters/mx-target.ts";
import { parseResponse } from "../../src/filters/response.ts";
import { parseFilterSpec } from "../../src/filters/spec.ts";
import { decodeAnswer, encodeQuery } from "../../src/io/dns-message.ts";
import { dnsblFaults } from "../../src/policy/dnsbl-spec.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { parseAddressList } from "../../src/submit/address-list.ts";
import { verifierFaults } from "../../src/verifiers/spec.ts";
import { oneWord, property, text, wire } from "../support/property.ts";

const xtext = oneWord.map((word) => encodeXtext(word));
const envelope: fc.Arbitrary<Envelope> = fc.record({
  ...(Object.fromEntries(
    Object.entries(emptyEnvelope).map(([name, value]) => [name, fc.constant(value)]),
  ) as { [K in keyof Envelope]: fc.Arbitrary<Envelope[K]> }),
  body: fc.constantFrom("7bit", "8bit", "binarymime", "unknown"),
  from: oneWord,
  toLocal: fc.array(oneWord, { maxLength: 4 }),
  toRemote: fc.array(oneWord, { maxLength: 4 }),
  authentication: xtext,
  client: oneWord,
  mailFromAuthIn: fc.oneof(xtext, fc.constant("<>")),
  forwardTo: xtext,
  forwardToAddress: oneWord,
  clientAccountSelector: oneWord,
  utf8Mailboxes: fc.boolean(),
  trailer: fc.array(oneWord, { maxLength: 3 }),
});

property("an envelope is read back as it was written", envelope, (given) => {
  // An empty last line is the end of the file.
  const trailer = given.trailer.filter((line) => line !== "");
  const wanted = { ...given, trailer };
  assert.deepEqual(decodeEnvelope(encodeEnvelope(wanted, "x"), "x"), wanted);
});

property(
  "a damaged envelope is read or refused, and what is read can be written",
  envelope,
  fc.nat(),
  wire,
  (given, place, noise) => {
    const bytes = encodeEnvelope(given, "x");
    const at = place % bytes.length;
    const damaged = Buffer.concat([
      bytes.subarray(0, at),
      noise,
      bytes.subarray(at + noise.length),
    ]);
    let read: Envelope;
    try {
      read = decodeEnvelope(damaged, "x");
    } catch (error) {
      assert.ok(error instanceof RelayError && error.code === "ENVELOPE_SYNTAX", String(error));
      return;
    }
    const again = decodeEnvelope(encodeEnvelope(read, "x"), "x");
    assert.deepEqual({ ...again, trailer: [] }, { ...read, trailer: [] });
  },
);

property(
  "an envelope with a control character in it is not written",
  envelope,
  text,
  (given, evil) => {
    fc.pre(/\p{Cc}/u.test(evil));
    assert.throws(() => encodeEnvelope({ ...given, from: evil }, "x"), { code: "ENVELOPE_SYNTAX" });
    assert.throws(() => encodeEnvelope({ ...given, toRemote: [evil] }, "x"), {
      code: "ENVELOPE_SYNTAX",
    });
  },
);

const dsnLine = fc
  .tuple(
    fc.constantFrom("X-Relayd-Dsn-Ret: ", "X-Relayd-Dsn-Envid: ", "X-Relayd-Dsn-Rcpt: ", ""),
    fc.oneof(text, fc.constantFrom("FULL", "a@b NOTIFY=NEVER", "a@b ORCPT=rfc822;a@b", "a+40b")),
  )
  .map((parts) => parts.join(""));

property(
  "what is read of any DSN lines is read again",
  fc.array(dsnLine, { maxLength: 6 }),
  (given) => {
    const read = dsnOf(given);
    const lines = dsnLines(read);
    assert.deepEqual(dsnLines(dsnOf(lines)), lines);
    for (const line of lines) assert.match(line, /^[ -~]+$/);
  },
);

property("parseSecrets() takes any text", fc.oneof(text, wire.map(String)), (given) => {
  const { problems } = parseSecrets(given);
  for (const { line } of problems) assert.ok(line >= 1);
});

const bytesOfId = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes));

property(
  "parseSecrets() reads back every name and password, among lines that are none",
  bytesOfId,
  bytesOfId,
  fc.array(oneWord, { maxLength: 3 }),
  (id, password, noise) => {
    const lines = [
      ...noise.map((one) => `# ${one}`),
      `server plain ${encodeXtext(id)} ${encodeXtext(password)}`,
      `client plain:b ${id.toString("base64")} ${password.toString("base64")}`,
    ];
    const { secrets, problems } = parseSecrets(lines.join("\r\n"));
    assert.deepEqual(problems, []);
    assert.deepEqual(secrets.server.get("plain")?.get(idKey(id))?.secret, password);
    assert.deepEqual(secrets.client.get("")?.get("plain")?.id, id);
  },
);

property(
  "xtext is read back, and base64 too",
  fc.uint8Array({ maxLength: 40 }),
  text,
  (bytes, given) => {
    const buffer = Buffer.from(bytes);
    assert.deepEqual(decodeXtextBytes(encodeXtext(buffer)), buffer);
    assert.deepEqual(decodeBase64(buffer.toString("base64")), buffer);
    const decoded = decodeXtext(given);
    if (decoded !== null) assert.match(given, /^[!-~]*$/);
  },
);

property(
  "parseResponse() gives one short line and a code that refuses",
  text,
  text,
  (one, other) => {
    const { response, code, reason } = parseResponse(`${one}<<${other}>>\n[[${one}]]\n${other}`);
    assert.doesNotMatch(response + reason, /[\r\n]/);
    assert.ok(response.length <= 500 && (code === 0 || (code >= 400 && code <= 599)));
  },
);

property(
  "decodeAnswer() takes any bytes",
  fc.uint8Array({ maxLength: 80 }),
  fc.nat(),
  (bytes, place) => {
    const question = { name: "example.test", type: "MX" } as const;
    decodeAnswer(Buffer.from(bytes), 1, question);
    const query = encodeQuery(1, question) ?? Buffer.alloc(0);
    const answer = Buffer.concat([
      query,
      Buffer.from("c00c000f00010000003c0009000a046d61696cc00c", "hex"),
    ]);
    answer.writeUInt16BE(0x8180, 2);
    answer.writeUInt16BE(1, 6);
    assert.equal(decodeAnswer(answer, 1, question)?.records.length, 1);
    answer.set(Buffer.from(bytes).subarray(0, 12), place % (answer.length - 12));
    decodeAnswer(answer, 1, question);
  },
);

property("encodeQuery() asks for what can be asked for", text, (name) => {
  const query = encodeQuery(7, { name, type: "A" });
  if (query !== null) assert.ok(query.length <= 12 + 255 + 4);
});

property(
  "what operators write is taken or refused with a RelayError",
  text,
  oneWord,
  (given, word) => {
    for (const value of [given, word, `${word}:${given}`, `spam:${given}`, `net:${given}`]) {
      lexConfigFile(value.replaceAll("\0", ""), "f");
      parseEndpoint(value);
      parseMxTarget(value);
      patternsOf(value);
      dnsblFaults(value);
      verifierFaults(value);
      parseAddressList(value);
      try {
        parseFilterSpec(value);
      } catch (error) {
        assert.ok(error instanceof RelayError, String(error));
      }
    }
  },
);
