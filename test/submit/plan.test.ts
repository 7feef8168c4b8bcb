import assert from "node:assert/strict";
import { test } from "node:test";
import { readCommandLine } from "../../src/submit/options.ts";
import { type PlannedMessage, planMessages } from "../../src/submit/plan.ts";
import { readRequest } from "../../src/submit/request.ts";

const OCCASION = { now: Date.UTC(2026, 10, 1, 2, 4, 4, 56), pid: 77 };

function plan(args: readonly string[], header: string): PlannedMessage[] {
  const crlf = Buffer.from(header.replaceAll("\n", "\r\n")).toString("latin1");
  return planMessages(readRequest(readCommandLine(args)), crlf, OCCASION);
}

function only(args: readonly string[], header: string): PlannedMessage {
  const [message, ...more] = plan(args, header);
  assert.equal(more.length, 0);
  return message ?? assert.fail("no message");
}

function headerOf(message: PlannedMessage): string {
  return message.header.toString("utf8").replaceAll("\r\n", "\n");
}

test("the sender is --from before anything in the header", () => {
  assert.equal(only(["-f", "x@y"], "From: a@b\n").envelope.from, "x@y");
});

test("the sender may be the null sender", () => {
  assert.equal(only(["-f", ""], "From: a@b\n").envelope.from, "");
  assert.equal(only(["--from=<>"], "From: a@b\n").envelope.from, "");
});

test("the sender is the only From address, whatever Sender says", () => {
  assert.equal(only([], 'Sender: s@t\nFROM : "A" <a@b>\n').envelope.from, "a@b");
});

test("the sender is Sender's when From has several", () => {
  assert.equal(only([], "From: a@b, c@d\nSender: s@t\n").envelope.from, "s@t");
});

test("the sender is the first From address when there is no Sender", () => {
  assert.equal(only([], "From: a@b,\n c@d\n").envelope.from, "a@b");
});

test("the sender is anonymous when the header names none", () => {
  assert.equal(only([], "Subject: x\n").envelope.from, "anonymous");
});

test("recipients on the command line are the only ones", () => {
  const { envelope } = only(["--to=c@d,e@f", "--to", "g@h", "\\a@b"], "To: x@y\nBcc: z@w\n");
  assert.deepEqual(envelope.toRemote, ["a@b", "c@d", "e@f", "g@h"]);
});

test("recipients come from every To, Cc and Bcc field", () => {
  const header = "bcc: e@f\nTo: a@b,\n\tg: c@d;\nCC: h@i (x)\nto: j@k\nSubject: To: no@one\n";
  const { envelope } = only([], header);
  assert.deepEqual(envelope.toRemote, ["a@b", "c@d", "j@k", "h@i", "e@f"]);
});

test("no recipients are no error", () => {
  assert.deepEqual(only([], "Subject: x\n").envelope.toRemote, []);
});

test("a header that is not asked for need not make sense", () => {
  assert.deepEqual(only(["-f", "x@y", "a@b"], 'To: "broken\nFrom: <\n').envelope.toRemote, ["a@b"]);
});

test("an address list that cannot be read names its line", () => {
  assert.throws(() => plan([], 'To: a@b,\n c@d,\n "broken\n'), {
    message: 'rfc-5322/6532 parsing error: invalid address-list: line 3 of "to": unclosed quotes',
  });
  assert.throws(
    () => plan([], "To: <a@%.\u00fc>\n"),
    /^Error: rfc-5322\/6532 parsing error: invalid address-list: line 1/,
  );
});

test("the envelope is what E-MailRelay's is", () => {
  const { envelope } = only(["-i", "a+b", "-o", "", "c@d"], "From: a@b\n");
  assert.equal(envelope.body, "unknown");
  assert.equal(envelope.client, "127.0.0.1");
  assert.equal(envelope.mailFromAuthIn, "a+2Bb");
  assert.equal(envelope.mailFromAuthOut, "<>");
  assert.equal(envelope.utf8Mailboxes, false);
});

test("a non-ASCII mailbox sets the utf8 flag, a non-ASCII domain does not", () => {
  assert.equal(only(["-f", "a@b", "c@\u00fc.de"], "").envelope.utf8Mailboxes, false);
  assert.equal(only(["-f", "a@b", "\u00fc@c.de"], "").envelope.utf8Mailboxes, true);
  assert.equal(only([], "From: \u00fc@a.de\nTo: b@c\n").envelope.utf8Mailboxes, true);
});

test("without options the header stays byte for byte", () => {
  const header = "From : a@b\nX-Odd\n\tfold\nBcc: c@d\n \nnot a field\n";
  assert.equal(headerOf(only([], header)), `${header}\n`);
});

test("--content-to replaces To, Cc and Bcc with their folds and nothing else", () => {
  const header = "From: a@b\nTo: x@y,\n z@w\nSubject: s\nCc: c@d\nbcc: e@f\nX-To: keep\n";
  const message = only(["-t", "n@m", "o@p"], header);
  assert.equal(headerOf(message), "From: a@b\nTo: n@m, o@p\nSubject: s\nX-To: keep\n\n");
});

test("--content-to folds a long list and writes UTF-8", () => {
  const list = Array.from({ length: 6 }, (_, index) => `recipient-${index}@example.com`);
  assert.equal(
    headerOf(only(["-t", ...list, "\u00fc@x"], "")),
    `To: ${list.slice(0, 3).join(", ")},\n ${list.slice(3).join(", ")},\n \u00fc@x\n\n`,
  );
});

test("--content-from replaces From and Sender", () => {
  const message = only(["-F", "-f", "me@x"], "Subject: s\nSender: s@t\nDate: d\nFrom: a@b\n");
  assert.equal(headerOf(message), "Subject: s\nFrom: me@x\nDate: d\n\n");
});

test("--content-date and --content-message-id add what is missing, at the top", () => {
  assert.equal(
    headerOf(only(["-dI"], "Subject: s\n")),
    "Date: 1 Nov 2026 02:04:04 +0000\nMessage-ID: <1793498644.056000.77@local>\nSubject: s\n\n",
  );
  const header = "DATE: x\nMessage-Id: y\n";
  assert.equal(headerOf(only(["-dI"], header)), `${header}\n`);
});

test("--content-message-id takes a domain after the equals sign", () => {
  for (const option of ["-I=x.org", "--content-message-id=x.org"]) {
    assert.match(headerOf(only([option], "")), /^Message-ID: <[\d.]+@x\.org>\n\n$/);
  }
  assert.throws(
    () => only(["-I=a>\r\nX: y"], ""),
    /invalid message-id domain: \[a>\\x0d\\x0aX: y\]/,
  );
});

test("--bcc-split gives each Bcc recipient a message of its own", () => {
  const header = "From: a@b\nTo: t@u\nBcc: c@d, e@f\nSubject: s\nBcc: g@h\n";
  const messages = plan(["-b"], header);
  assert.deepEqual(
    messages.map(({ envelope }) => envelope.toRemote),
    [["t@u"], ["c@d"], ["e@f"], ["g@h"]],
  );
  assert.deepEqual(messages.map(headerOf), [
    "From: a@b\nTo: t@u\nSubject: s\n\n",
    "From: a@b\nTo: t@u\nbcc: c@d\nSubject: s\n\n",
    "From: a@b\nTo: t@u\nbcc: e@f\nSubject: s\n\n",
    "From: a@b\nTo: t@u\nbcc: g@h\nSubject: s\n\n",
  ]);
});

test("--bcc-split with --content-to shows the open recipients only", () => {
  const messages = plan(["-bt"], "To: t@u\nCc: v@w\nBcc: c@d\n");
  assert.deepEqual(messages.map(headerOf), ["To: t@u, v@w\n\n", "To: t@u, v@w\nbcc: c@d\n\n"]);
});

test("--bcc-split of a message with Bcc alone makes no message to nobody", () => {
  const messages = plan(["-b"], "Bcc: c@d\n");
  assert.deepEqual(
    messages.map(({ envelope }) => envelope.toRemote),
    [["c@d"]],
  );
});

test("--bcc-split with recipients on the command line hides Bcc from them", () => {
  const message = only(["-b", "a@b"], "To: t@u\nBcc: c@d\n");
  assert.deepEqual(message.envelope.toRemote, ["a@b"]);
  assert.equal(headerOf(message), "To: t@u\n\n");
});

test("addresses that could forge a line are refused with their control characters shown", () => {
  assert.throws(() => plan(["-f", "a@b\r\nX-MailRelay-To-Remote: x"], ""), {
    message: "invalid sender address: [a@b\\x0d\\x0aX-MailRelay-To-Remote: x]",
  });
  assert.throws(() => plan(["a@b\nc"], ""), { message: "invalid recipient address: [a@b\\x0ac]" });
  assert.throws(() => plan(["--to=a@b, \x1b[2J@c"], ""), /invalid recipient address/);
  assert.throws(() => plan([""], ""), { message: "invalid recipient address: []" });
  assert.throws(() => plan(["-f", "a@b,c@d"], ""), {
    message: "invalid sender address: [a@b,c@d]",
  });
});

test("a line end in --from-auth-in is encoded", () => {
  assert.equal(only(["-i", "a\r\nb"], "").envelope.mailFromAuthIn, "a+0D+0Ab");
});
