import assert from "node:assert/strict";
import fc from "fast-check";
import { parseCommand as adminCommand } from "../../src/admin/command.ts";
import { silentJournal } from "../../src/core/events.ts";
import { oneLine } from "../../src/observe/line-format.ts";
import { PopProtocol } from "../../src/pop/protocol.ts";
import { parseChunkSize, parseCommand, parseMailParameters } from "../../src/smtp/command.ts";
import { parsePath } from "../../src/smtp/mailbox.ts";
import { receivedLine } from "../../src/smtp/received.ts";
import { ServerProtocol, type ServerRules } from "../../src/smtp/server-protocol.ts";
import type { ServerStep } from "../../src/smtp/server-reply.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { property, text, wire } from "../support/property.ts";
import { nobody, plainConfig, testAccounts } from "../support/smtp-listener.ts";

const peer = { address: "192.0.2.1", port: 4711 };

const address = fc.oneof(
  fc.constantFrom(
    "<a@b>",
    "<>",
    "< >",
    "<a@b >",
    "<@r,@s:a@b>",
    '<"a b"@c>',
    "<é@b>",
    "<a@é.test>",
    "a@b",
    "<<>>",
    "<\\>@x>",
  ),
  text.map((one) => `<${one}>`),
  text,
);
const parameter = fc.oneof(
  fc.constantFrom(
    "SIZE=1",
    "BODY=8BITMIME",
    "AUTH=<>",
    "AUTH=a+2",
    "AUTH=a+0D+0Ab",
    "SMTPUTF8",
    "RET=FULL",
    "ENVID=a+2B",
    "NOTIFY=NEVER",
    "NOTIFY=SUCCESS,DELAY",
    "ORCPT=rfc822;a+40b",
    "X=é",
    "=",
  ),
  text,
);
const words = fc
  .array(parameter, { maxLength: 3 })
  .map((all) => all.map((one) => ` ${one}`).join(""));

/** What clients say: right, nearly right, and noise. */
const command = fc.oneof(
  fc.constantFrom(
    "EHLO x",
    "HELO x",
    "RSET",
    "NOOP",
    "DATA",
    "QUIT",
    "STARTTLS",
    "BDAT 0 LAST",
    "BDAT 5",
  ),
  fc
    .tuple(
      fc.constantFrom("MAIL FROM:", "mail from:", "RCPT TO:", "VRFY ", "EXPN "),
      address,
      words,
    )
    .map((parts) => parts.join("")),
  fc
    .tuple(fc.constantFrom("AUTH PLAIN ", "AUTH LOGIN", "AUTH CRAM-MD5", "AUTH "), text)
    .map((parts) => parts.join("")),
  text,
);

function rules(given: Partial<ServerRules>): ServerRules {
  return {
    config: {
      ...plainConfig,
      maxErrors: 0,
      maxAuthFailures: 0,
      dsn: true,
      smtp: { ...plainConfig.smtp, chunking: true },
    },
    domain: "relay.test",
    version: "0",
    accounts: nobody,
    journal: silentJournal,
    starttls: true,
    tlsRequired: false,
    enabled: true,
    ...given,
  };
}

/** Every line of a reply is "code-text" or, the last, "code text", with one code and nothing that moves a cursor. */
function assertReply(reply: string): void {
  const lines = reply.split("\r\n");
  for (const [index, line] of lines.entries()) {
    assert.match(line, index < lines.length - 1 ? /^[2-5]\d\d-/ : /^[2-5]\d\d /);
    assert.doesNotMatch(line, /[^\P{Cc}\t]/u);
    assert.equal(line.slice(0, 3), reply.slice(0, 3));
  }
}

function assertStep(step: ServerStep): void {
  if (step.kind === "skip") assertStep(step.next);
  else if ("reply" in step && step.reply !== "") assertReply(step.reply);
}

property(
  "whatever a client says, the replies are replies, and the envelope can be stored and read back",
  fc.array(command, { maxLength: 12 }),
  fc.boolean(),
  (lines, begun) => {
    const protocol = new ServerProtocol(rules({}), peer);
    const start = begun ? ["EHLO x", "MAIL FROM:<a@b> ENVID=1"] : ["EHLO x"];
    for (const line of [...start, ...lines]) {
      const bytes = Buffer.from(line.replaceAll("\r\n", ""));
      const step = protocol.command(bytes);
      assertStep(step);
      if (step.kind === "verify") {
        assertStep(protocol.verified({ kind: "remote", address: step.query.recipient }));
      }
      protocol.describe(bytes);
      const { envelope } = protocol;
      assert.deepEqual(decodeEnvelope(encodeEnvelope(envelope, "x"), "x"), envelope);
    }
  },
);

property(
  "whatever a client says, it cannot send before it has logged in",
  fc.array(command, { maxLength: 15 }),
  (lines) => {
    const accounts = testAccounts({ insecure: ["PLAIN", "LOGIN", "CRAM-MD5"] });
    const protocol = new ServerProtocol(rules({ accounts }), peer);
    protocol.command(Buffer.from("EHLO client.test"));
    for (const line of lines) {
      const step = protocol.command(Buffer.from(line.replaceAll("\r\n", "")));
      assertStep(step);
      assert.ok(!["verify", "data", "chunk"].includes(step.kind), JSON.stringify([lines, step]));
    }
  },
);

property("parseCommand() takes any bytes", wire, (bytes) => {
  const { verb, argument } = parseCommand(bytes);
  assert.doesNotMatch(verb, /[ \t]/);
  assert.equal(argument, argument.replace(/^[ \t]+|[ \t]+$/g, ""));
  parseChunkSize(argument);
});

property("parseMailParameters() gives a reply or safe words", fc.oneof(words, text), (given) => {
  const found = parseMailParameters(given, { dsn: true });
  if (typeof found === "string") assertReply(found);
  else assert.match(found.auth, /^[!-~]*$/);
});

property(
  "parsePath() gives an address without control characters, or none",
  address,
  fc.boolean(),
  (given, strict) => {
    const path = parsePath(given, { strict, alabels: true });
    if (path.kind === "path") assert.doesNotMatch(path.address, /[\p{Cc}\u2028\u2029]/u);
  },
);

property("receivedLine() is one line of ASCII, whatever the client calls itself", text, (helo) => {
  const trace = { helo, address: "::1", domain: "d", authenticated: false, cipher: "", now: 0 };
  assert.match(receivedLine(trace), /^Received: from [!-~]* [ -~]*\r\n$/);
});

property(
  "oneLine() leaves nothing that ends a line of the log or moves its cursor",
  text,
  (given) => {
    assert.doesNotMatch(oneLine(given), /[\p{Cc}\u2028\u2029\u202e]/u);
  },
);

const popCommand = fc.oneof(
  fc.constantFrom(
    "USER alice",
    "PASS e=mc2",
    "CAPA",
    "STAT",
    "LIST 1",
    "RETR 0",
    "DELE -1",
    "QUIT",
    "STLS",
    "APOP a b",
  ),
  fc
    .tuple(fc.constantFrom("USER ", "PASS ", "AUTH PLAIN ", "APOP ", "TOP ", "UIDL "), text)
    .map((parts) => parts.join("")),
  text,
);

property(
  "whatever a POP client says, the answers are lines",
  fc.array(popCommand, { maxLength: 12 }),
  (lines) => {
    const accounts = {
      ...testAccounts({ insecure: ["PLAIN"] }),
      offersApop: () => true,
      apopChallenge: () => "<1@x>",
      judgeApop: () => ({ kind: "refused", id: "", detail: "" }) as const,
    };
    const protocol = new PopProtocol(
      {
        accounts,
        journal: silentJournal,
        stls: true,
        tlsRequired: false,
        noDelete: false,
        maxAuthFailures: 0,
      },
      peer,
    );
    protocol.greeting();
    for (const line of lines) {
      const step = protocol.command(Buffer.from(line.replace(/[\r\n]/g, "")));
      if ("text" in step && step.text !== "")
        assert.match(step.text, /^(?:\+OK|-ERR|\+ )\P{Cc}*$/u);
    }
  },
);

property("the administrator's parser takes any line", text, (line) => {
  assert.equal(typeof adminCommand(line).kind, "string");
});
