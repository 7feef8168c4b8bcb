import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type ParsedMail, simpleParser } from "mailparser";
import { composeNotice, noticeRecipient } from "../../src/compose/notice.ts";
import { type Original, readOriginal } from "../../src/compose/original.ts";
import { type Envelope, emptyEnvelope } from "../../src/core/envelope.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { runProgram, temporary } from "../support/relayd.ts";

const failed: Envelope = {
  ...emptyEnvelope,
  from: "alice@example.com",
  toRemote: ["bob@example.net"],
  trailer: [
    "X-MailRelay-Reason: connection refused",
    "X-MailRelay-ReasonCode:",
    "X-MailRelay-Reason: mailbox full",
    "X-MailRelay-ReasonCode: 552",
  ],
};

const CONTENT = Buffer.from(
  'Bcc: x@y\r\nTo: "B" <bob@example.net>,\r\n\tc@d\r\nSubject: =?utf-8?q?h=C3=A9?=\r\n\r\n.\r\n\xe4\0\r \r\n\r\n',
  "latin1",
);

function file(bytes: Uint8Array): string {
  const path = join(temporary(), "x.content");
  writeFileSync(path, bytes);
  return path;
}

async function compose(facts: Partial<Parameters<typeof composeNotice>[0]> = {}): Promise<string> {
  const notice = composeNotice({
    envelope: failed,
    original: await readOriginal(file(CONTENT)),
    from: "postmaster",
    to: noticeRecipient(facts.envelope ?? failed),
    host: "relay.test",
    now: Date.UTC(2026, 10, 21, 2, 4, 4),
    ...facts,
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of notice) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString("latin1");
}

async function parse(notice: string): Promise<ParsedMail> {
  return await simpleParser(Buffer.from(notice, "latin1"));
}

test("composeNotice() has the header of a machine's answer", async () => {
  const [header = ""] = (await compose()).split("\r\n\r\n", 1);
  for (const line of [
    "From: postmaster",
    "To: alice@example.com",
    "Subject: Your e-mail could not be delivered",
    "Auto-Submitted: auto-replied",
    "Date: Sat, 21 Nov 2026 02:04:04 +0000",
    "MIME-Version: 1.0",
  ]) {
    assert.ok(header.split("\r\n").includes(line), `${line} in ${header}`);
  }
  assert.match(header, /^Message-ID: <[^@]+@relay\.test>$/m);
  assert.match(header, /^Content-Type: multipart\/mixed; boundary=/m);
});

test("composeNotice() says what failed and every reason", async () => {
  const { text = "" } = await parse(await compose());
  for (const line of [
    'To: "B" <bob@example.net>, c@d',
    "Subject: =?utf-8?q?h=C3=A9?=",
    "Recipient: bob@example.net",
    "Reason: connection refused",
    "Reason: mailbox full",
  ]) {
    assert.ok(text.split("\n").includes(line), `${line} in ${text}`);
  }
});

test("composeNotice() holds the original byte for byte", async () => {
  const notice = await compose();
  const boundary = /boundary="([^"]+)"/.exec(notice)?.[1] ?? assert.fail("no boundary");
  const [, , part = ""] = notice.split(`--${boundary}`);
  const end = part.indexOf("\r\n\r\n");
  assert.match(part.slice(0, end), /Content-Type: message\/rfc822/);
  assert.match(part.slice(0, end), /Content-Transfer-Encoding: 8bit/);
  assert.equal(part.slice(end + 4), `${CONTENT.toString("latin1")}\r\n`);
  assert.ok(notice.endsWith(`--${boundary}--\r\n`));
});

test("composeNotice() marks an ASCII original as 7bit", async () => {
  const original = await readOriginal(file(Buffer.from("A: b\r\n\r\nc\r\n")));
  assert.match(await compose({ original }), /message\/rfc822\r\nContent-Transfer-Encoding: 7bit/);
});

test("composeNotice() goes to root when there was no sender", async () => {
  const envelope = { ...failed, from: "" };
  assert.equal(noticeRecipient(envelope), "root");
  assert.match(await compose({ envelope }), /^To: root\r\n/m);
});

test("composeNotice() lets nothing of the message become its own header", async () => {
  const header = "To: a@b\rX-Evil: 1\r\nSubject: s\rX-Evil: 2\r\n\r\n";
  const original = await readOriginal(file(Buffer.from(header)));
  const envelope = { ...failed, trailer: ["X-MailRelay-Reason: r\rX-Evil: 3"] };
  const notice = await compose({
    original,
    envelope,
    to: 'a,b@c\r\nX-Evil: 4@"x',
    from: "p\nX-Evil: 5",
  });
  const text = notice.slice(0, notice.indexOf("Content-Type: message/rfc822"));
  assert.doesNotMatch(text, /^X-Evil/m);
  assert.equal(text.match(/^To: /gm)?.length, 2);
});

test("composeNotice() does without an original that is gone", async () => {
  const notice = await compose({ original: await readOriginal("/nonexistent/x.content") });
  assert.match(
    notice,
    /Reason: mailbox full\r\n\r\nThe text of the message is no longer there\.\r\n/,
  );
  assert.doesNotMatch(notice, /rfc822/);
});

test("readOriginal() takes the header alone of a message over 10 MB", async () => {
  const path = file(CONTENT);
  truncateSync(path, 10 * 1024 * 1024 + 1);
  const original: Original = (await readOriginal(path)) ?? assert.fail("no original");
  assert.equal(original.shortened, true);
  assert.equal(
    original.bytes.toString("latin1"),
    CONTENT.toString("latin1").split("\r\n\r\n")[0]?.concat("\r\n\r\n"),
  );
  assert.match(
    await compose({ original }),
    /too large \(10485761 bytes\): only its header is attached/,
  );
});

test("readOriginal() reads raw UTF-8 and latin1 subjects", async () => {
  const utf8 = await readOriginal(file(Buffer.from("subject: \u00e9\r\n\r\n")));
  assert.equal(utf8?.subject, "\u00e9");
  const latin1 = await readOriginal(
    file(Buffer.from("X: y\r\nSUBJECT: \u00e9\r\n\r\nSubject: no\r\n", "latin1")),
  );
  assert.equal(latin1?.subject, "\u00e9");
});

test("readOriginal() follows no link and reads only files", async () => {
  const directory = temporary();
  symlinkSync(file(CONTENT), join(directory, "link"));
  mkdirSync(join(directory, "folder"));
  await assert.rejects(readOriginal(join(directory, "link")), /ELOOP/);
  await assert.rejects(readOriginal(join(directory, "folder")), /is not a regular file/);
});

test("relayd-notice prints the notice, or only whom it goes to", async () => {
  const directory = temporary();
  const envelope = join(directory, "x.envelope.bad");
  writeFileSync(envelope, encodeEnvelope(failed, envelope));
  const content = file(CONTENT);
  const ran = await runProgram("relayd-notice", ["--from", "pm@relay.test", envelope, content]);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stdout, /^From: pm@relay\.test\r$/m);
  assert.ok(ran.stdout.includes(CONTENT.toString("latin1")));
  const recipient = await runProgram("relayd-notice", ["--print-recipient", envelope]);
  assert.deepEqual(recipient, { code: 0, stdout: "alice@example.com\n", stderr: "" });
  const toRoot = await runProgram("relayd-notice", ["--to", "root", envelope, content]);
  assert.match(toRoot.stdout, /^To: root\r$/m);
});

test("relayd-notice names an envelope that it cannot read", async () => {
  const envelope = file(Buffer.from("nonsense\n"));
  const ran = await runProgram("relayd-notice", [envelope, envelope]);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /^relayd-notice: cannot read envelope file: .*x\.content: .+\n$/);
  assert.equal((await runProgram("relayd-notice", [])).code, 1);
});

test("relayd-notice --report prints a delivery report", async () => {
  const envelope = join(temporary(), "emailrelay.1.1800000000.1.envelope.bad");
  writeFileSync(envelope, encodeEnvelope(failed, envelope));
  const content = file(Buffer.from("Subject: x\r\n\r\ny\r\n"));
  const ran = await runProgram("relayd-notice", ["--report", envelope, content]);
  assert.equal(ran.code, 0, ran.stderr);
  for (const line of [
    "To: alice@example.com",
    "Arrival-Date: Fri, 15 Jan 2027 08:00:00 +0000",
    "Final-Recipient: rfc822; bob@example.net",
    "Status: 5.0.0",
    "Diagnostic-Code: smtp; 552 mailbox full",
  ]) {
    assert.ok(ran.stdout.split("\r\n").includes(line), `${line} in ${ran.stdout}`);
  }
  assert.ok(ran.stdout.includes("\r\n\r\nSubject: x\r\n\r\ny\r\n\r\n--"));
});
