import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { simpleParser } from "mailparser";
import { composeReport, isReport, wantedBack } from "../../src/compose/report.ts";
import { type Returned, readReturned } from "../../src/compose/returned.ts";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import type { RecipientReport, Report } from "../../src/core/report.ts";
import type { Content } from "../../src/core/store.ts";
import { needs } from "../scripts/temp-tree.ts";
import { contentOf } from "../support/client-under-test.ts";
import { counted } from "../support/counted.ts";

const ARRIVED = Date.UTC(2026, 10, 21, 2, 4, 4) / 1000;
const HOUR = 3600;

const refused: RecipientReport = {
  recipient: "bob@example.net",
  reply: { code: 550, text: "5.1.1 no such user" },
  step: "rcpt",
  why: "5.1.1 no such user",
  status: "5.1.1",
  smarthost: "smtp.example.com:587",
  lastAttempt: ARRIVED + 60,
};

const failure: Report = {
  action: "failed",
  envelope: {
    ...emptyEnvelope,
    from: "alice@example.com",
    toRemote: ["bob@example.net"],
    client: "192.0.2.1",
  },
  content: async () => null,
  recipients: [refused],
  arrived: ARRIVED,
  retriedUntil: null,
};

const ORIGINAL =
  "Received: from x\r\nMessage-ID: <1@example.com>\r\nSubject: hello\r\n\r\nbody\r\n";

interface Facts {
  readonly report?: Partial<Report>;
  readonly original?: string | Buffer | Content | null;
  readonly to?: string;
  readonly now?: number;
}

async function compose({ report = {}, original = ORIGINAL, to, now }: Facts = {}): Promise<Buffer> {
  const whole: Report = { ...failure, ...report };
  return await composeReport({
    report: whole,
    returned: await returnedOf(original, whole),
    to: to ?? whole.envelope.from,
    domain: "relay.test",
    now: (now ?? ARRIVED + 60) * 1000,
    token: "0123456789abcdef",
  });
}

async function returnedOf(
  original: string | Buffer | Content | null,
  report: Report,
): Promise<Returned | null> {
  if (original === null) return null;
  const isContent = typeof original !== "string" && "bytes" in original;
  const content = isContent ? original : contentOf(original);
  return await readReturned(content, wantedBack(report));
}

/** The parts with their headers. */
function partsOf(mail: Buffer): { head: string; bytes: Buffer }[] {
  const boundary = /boundary="([^"]+)"/.exec(mail.toString("latin1"))?.[1] ?? assert.fail("none");
  const pieces = mail.toString("latin1").split(`--${boundary}`);
  assert.equal(pieces.at(-1), "--\r\n");
  return pieces.slice(1, -1).map((piece) => {
    const end = piece.indexOf("\r\n\r\n");
    return {
      head: piece.slice(2, end),
      bytes: Buffer.from(piece.slice(end + 4, -2), "latin1"),
    };
  });
}

test("composeReport() makes this of a failure", async () => {
  const trailer = [
    "X-Relayd-Dsn-Envid: QQ+2B1",
    "X-Relayd-Dsn-Rcpt: bob@example.net NOTIFY=FAILURE ORCPT=rfc822;bob+2Bx@example.org",
  ];
  const mail = await compose({ report: { envelope: { ...failure.envelope, trailer } } });
  assert.equal(
    mail.toString(),
    `To: alice@example.com
From: Mail Delivery System <MAILER-DAEMON@relay.test>
Subject: Returned mail: see transcript for details
Date: Sat, 21 Nov 2026 02:05:04 +0000
Message-ID: <0123456789abcdef@relay.test>
Auto-Submitted: auto-replied
In-Reply-To: <1@example.com>
References: <1@example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="--_NmP-0123456789abcdef-Part_1"

----_NmP-0123456789abcdef-Part_1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

The original message was received at Sat, 21 Nov 2026 02:04:04 +0000
from [192.0.2.1]

   ----- The following addresses had permanent fatal errors -----
<bob@example.net>
    (reason: 550 5.1.1 no such user)

   ----- Transcript of session follows -----
... while talking to smtp.example.com:587:
>>> RCPT TO:<bob@example.net>
<<< 550 5.1.1 no such user

The message is attached.

----_NmP-0123456789abcdef-Part_1
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit
Content-Disposition: inline

Original-Envelope-Id: QQ+1
Reporting-MTA: dns; relay.test
Received-From-MTA: dns; [192.0.2.1]
Arrival-Date: Sat, 21 Nov 2026 02:04:04 +0000

Original-Recipient: rfc822; bob+x@example.org
Final-Recipient: rfc822; bob@example.net
Action: failed
Status: 5.1.1
Remote-MTA: dns; smtp.example.com
Diagnostic-Code: smtp; 550 5.1.1 no such user
Last-Attempt-Date: Sat, 21 Nov 2026 02:05:04 +0000

----_NmP-0123456789abcdef-Part_1
Content-Type: message/rfc822
Content-Transfer-Encoding: 7bit
Content-Disposition: inline

Received: from x
Message-ID: <1@example.com>
Subject: hello

body

----_NmP-0123456789abcdef-Part_1--
`.replaceAll("\n", "\r\n"),
  );
});

test("composeReport() warns of a delay, with the header alone", async () => {
  const reply = { code: 451, text: "4.7.1 greylisted\ntry later" };
  const mail = await compose({
    report: {
      action: "delayed",
      retriedUntil: ARRIVED + 5 * 24 * HOUR,
      recipients: [{ ...refused, reply, why: "4.7.1 greylisted", status: "4.7.1" }],
    },
    now: ARRIVED + 4 * HOUR + 100,
  });
  const [text, status, header] = partsOf(mail);
  assert.match(mail.toString(), /^Subject: Warning: could not send message for past 4 hours\r$/m);
  assert.match(text?.bytes.toString() ?? "", /\*\* {6}THIS IS A WARNING MESSAGE ONLY/);
  assert.match(
    text?.bytes.toString() ?? "",
    /\r\nWarning: message still undelivered after 4 hours\r\nWill keep trying until message is 5 days old\r\n/,
  );
  assert.match(text?.bytes.toString() ?? "", /<<< 451 4\.7\.1 greylisted\r\n<<< 451 try later\r\n/);
  for (const line of [
    "Action: delayed",
    "Status: 4.7.1",
    "Diagnostic-Code: smtp; 451 4.7.1 greylisted try later",
    "Will-Retry-Until: Thu, 26 Nov 2026 02:04:04 +0000",
  ]) {
    assert.ok(status?.bytes.toString().split("\r\n").includes(line), line);
  }
  assert.match(header?.head ?? "", /^Content-Type: text\/rfc822-headers\r\n/);
  assert.equal(header?.bytes.toString(), ORIGINAL.slice(0, ORIGINAL.indexOf("\r\nbody")));
});

test("composeReport() says that a message went where nobody reports success", async () => {
  const reply = { code: 250, text: "2.0.0 ok" };
  const recipients = [{ ...refused, reply, status: "2.0.0" }];
  const [text, status] = partsOf(await compose({ report: { action: "relayed", recipients } }));
  assert.match(text?.bytes.toString() ?? "", /relayed to non-DSN-aware mailer/);
  assert.match(status?.bytes.toString() ?? "", /\r\nAction: relayed\r\nStatus: 2\.0\.0\r\n/);
});

test("composeReport() has a group of fields for each recipient", async () => {
  const expired: RecipientReport = {
    recipient: "carol@example.org",
    reply: null,
    why: "delivery time expired",
    status: "4.4.7",
    smarthost: "",
    lastAttempt: ARRIVED,
  };
  const [text, status] = partsOf(await compose({ report: { recipients: [refused, expired] } }));
  const groups = status?.bytes.toString().split("\r\n\r\n") ?? [];
  assert.equal(groups.length, 3);
  assert.equal(
    groups[2],
    `Final-Recipient: rfc822; carol@example.org
Action: failed
Status: 4.4.7
Diagnostic-Code: X-Relayd; delivery time expired
Last-Attempt-Date: Sat, 21 Nov 2026 02:04:04 +0000
`.replaceAll("\n", "\r\n"),
  );
  assert.match(text?.bytes.toString() ?? "", /<carol@example\.org>\r\n {4}\(reason: delivery time/);
});

test("composeReport() returns 8-bit content byte for byte and labels the whole", async () => {
  const original = Buffer.from("Subject: \xe4\r\n\r\n.\r\n\xff\x01 \t\r\n--x\r\n\r\n", "latin1");
  const mail = await compose({ original });
  const [, , part] = partsOf(mail);
  assert.match(part?.head ?? "", /message\/rfc822\r\nContent-Transfer-Encoding: 8bit/);
  assert.deepEqual(part?.bytes, original);
  const head = mail.subarray(0, mail.indexOf("\r\n\r\n")).toString();
  assert.match(head, /^Content-Transfer-Encoding: 8bit\r$/m);
});

test("composeReport() returns headers alone when asked to, or of a large message", async () => {
  const trailer = ["X-Relayd-Dsn-Ret: HDRS"];
  const asked = await compose({ report: { envelope: { ...failure.envelope, trailer } } });
  const body = "x".repeat(70);
  const large = `${ORIGINAL}${`${body}\r\n`.repeat(2000)}`;
  for (const mail of [asked, await compose({ original: large })]) {
    const [text, , part] = partsOf(mail);
    assert.match(part?.head ?? "", /^Content-Type: text\/rfc822-headers\r\n/);
    assert.equal(part?.bytes.toString(), ORIGINAL.slice(0, ORIGINAL.indexOf("\r\nbody")));
    assert.match(text?.bytes.toString() ?? "", /Only the header of the message \(\d+ bytes\)/);
  }
});

test("readReturned() reads no more of 100 MB than its header", async () => {
  let read = 0;
  const large: Content = {
    size: 100 * 1024 * 1024,
    async *bytes() {
      yield Buffer.from(ORIGINAL);
      for (read = 1; read < 1600; read += 1) yield Buffer.alloc(65_536, "x");
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const returned = await readReturned(large, "whole");
  assert.equal(returned.whole, false);
  assert.equal(read, 0);
});

test("readReturned() gives whole lines of a header without end", async () => {
  const line = `X-Y: ${"z".repeat(90)}\r\n`;
  const { bytes } = await readReturned(contentOf(line.repeat(3000)), "whole");
  assert.ok(bytes.length > 100_000 && bytes.length <= 102_400);
  assert.equal(bytes.length % line.length, 0);
});

test("readReturned() returns the header alone of what cannot go through mail unchanged", async () => {
  for (const body of ["a\0b\r\n", "a\nb\r\n", "a\rb\r\n", "a\r", "a\n", "x".repeat(999)]) {
    const { whole, bytes } = await readReturned(contentOf(`A: b\r\n\r\n${body}`), "whole");
    assert.deepEqual([whole, bytes.toString()], [false, "A: b\r\n"], JSON.stringify(body));
  }
  const fit = await readReturned(contentOf(`A: b\r\n\r\n${"x".repeat(998)}\r\ny`), "whole");
  assert.equal(fit.whole, true);
});

test("composeReport() returns no line that mail cannot have", async () => {
  const long = await compose({ original: `Subject: x\r\n\r\n${"y".repeat(999)}\r\n` });
  assert.match(
    partsOf(long)[2]?.head ?? "",
    /text\/rfc822-headers\r\nContent-Transfer-Encoding: 7bit/,
  );
  const longHeader = `X: ${"y".repeat(2000)}\r\n`;
  const mail = await compose({
    original: `${longHeader}\r\nbody\r\n`,
    report: {
      recipients: [
        {
          ...refused,
          recipient: `${"b".repeat(3000)}@example.net`,
          reply: { code: 550, text: "é".repeat(3000) },
        },
      ],
      envelope: { ...failure.envelope, from: `${"a".repeat(3000)}@x` },
    },
  });
  assert.ok(
    mail
      .toString("latin1")
      .split("\r\n")
      .every((line) => line.length <= 998),
  );
  const part = partsOf(mail)[2];
  assert.match(part?.head ?? "", /text\/rfc822-headers\r\nContent-Transfer-Encoding: base64/);
  assert.equal(Buffer.from(part?.bytes.toString() ?? "", "base64").toString(), longHeader);
});

test("composeReport() has CRLF alone, and ASCII alone where it says 7bit", async () => {
  const mail = await compose({
    report: {
      recipients: [{ ...refused, reply: { code: 550, text: "grüße\r\nX-Evil: 1\n\x00" } }],
    },
  });
  const text = mail.toString("latin1");
  assert.doesNotMatch(text, /[^\r]\n|\r[^\n]|\0|[\x80-\xff]/);
  assert.doesNotMatch(text, /^X-Evil/m);
  assert.match(text, /Diagnostic-Code: smtp; 550 gr\?\?e X-Evil: 1\r\n/);
});

test("composeReport() lets nothing of the message become a header", async () => {
  const mail = await compose({
    to: 'a,b@c\r\nX-Evil: 4@"x',
    report: {
      recipients: [{ ...refused, recipient: "b@c\r\nX-Evil: 1", why: "\nX-Evil: 2", reply: null }],
    },
    original: "Message-ID: <a@b>\rX-Evil: 3\r\n\r\n",
  });
  assert.doesNotMatch(mail.toString("latin1").split("message/rfc822")[0] ?? "", /^X-Evil/m);
});

test("composeReport() has the names of RFC 6533 for addresses that are not ASCII", async () => {
  const envelope = { ...failure.envelope, from: "ärger@example.com", utf8Mailboxes: true };
  const mail = await compose({
    report: { envelope, recipients: [{ ...refused, recipient: "δοκιμή@example.gr" }] },
    original: "Subject: δ\r\n\r\nx\r\n",
  });
  const [, status, part] = partsOf(mail);
  assert.match(
    status?.head ?? "",
    /message\/global-delivery-status\r\nContent-Transfer-Encoding: 8bit/,
  );
  assert.match(
    status?.bytes.toString() ?? "",
    /\r\nFinal-Recipient: utf-8; δοκιμή@example\.gr\r\n/,
  );
  assert.match(part?.head ?? "", /^Content-Type: message\/global\r\n/);
  assert.match(mail.toString(), /^To: ärger@example\.com\r$/m);
});

test("composeReport() does without a message that is gone", async () => {
  const parts = partsOf(await compose({ original: null }));
  assert.equal(parts.length, 2);
  assert.match(
    parts[0]?.bytes.toString() ?? "",
    /The text of the message is no longer there\.\r\n/,
  );
});

test("isReport() knows a report by its header", async () => {
  const is = async (original: string) => isReport(await returnedOf(original, failure));
  assert.equal(await is("A: b\r\ncontent-type:\r\n\tMultipart/Report; x=y\r\n\r\n"), true);
  assert.equal(
    await is("A: b\r\nContent-Type: text/plain\r\n\r\nContent-Type: multipart/report\r\n"),
    false,
  );
  assert.equal(isReport(null), false);
});

test("mailparser reads a report", async () => {
  const mail = await simpleParser(await compose());
  assert.equal(mail.from?.text, '"Mail Delivery System" <MAILER-DAEMON@relay.test>');
  assert.equal(mail.headers.get("auto-submitted"), "auto-replied");
  assert.match(mail.text ?? "", /permanent fatal errors/);
  assert.match(mail.text ?? "", /Final-Recipient: rfc822; bob@example\.net\nAction: failed\n/);
});

test("Python's strict parser finds no defect and the fields of every recipient", {
  skip: needs("python3"),
}, async () => {
  const other = { ...refused, recipient: "carol@example.net" };
  const mail = await compose({ report: { recipients: [refused, other] } });
  const script = `
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.strict)
assert not any(p.defects for p in m.walk())
assert m.get_content_type() == "multipart/report", m.get_content_type()
assert m["content-type"].params["report-type"] == "delivery-status"
text, status, original = m.get_payload()
blocks = [dict(b.items()) for b in status.get_payload()]
print(json.dumps([blocks, original.get_payload(0)["subject"], m["from"].addresses[0].addr_spec]))
`;
  const output = execFileSync("python3", ["-c", script], { input: mail, encoding: "utf8" });
  const [blocks, subject, from] = JSON.parse(output) as [Record<string, string>[], string, string];
  assert.deepEqual(
    blocks.map((block) => [block["Reporting-MTA"], block["Final-Recipient"], block.Action]),
    [
      ["dns; relay.test", undefined, undefined],
      [undefined, "rfc822; bob@example.net", "failed"],
      [undefined, "rfc822; carol@example.net", "failed"],
    ],
  );
  assert.deepEqual([subject, from], ["hello", "MAILER-DAEMON@relay.test"]);
});

test("composeReport() reads what the client asked for a few times, however many recipients there are", async () => {
  const people = Array.from({ length: 3000 }, (_, n) => `user${n}@example.net`);
  const { items: trailer, reads } = counted(
    people.map((one) => `X-Relayd-Dsn-Rcpt: ${one} NOTIFY=FAILURE`),
  );
  const recipients = people.map((recipient) => ({ ...refused, recipient }));
  await compose({ report: { recipients, envelope: { ...failure.envelope, trailer } } });
  assert.ok(reads() <= 10 * people.length, `${reads()} reads`);
});
