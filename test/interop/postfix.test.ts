import assert from "node:assert/strict";
import { after, test } from "node:test";
import { present } from "../support/peer.ts";
import { startPostfix } from "../support/postfix.ts";
import { sendMail, TestRelay, temporarySpool } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";
import { makeTestCa, type TestCa } from "../support/test-ca.ts";
import { asClient, field, type KeptMail, reasons, untilKept, withoutTrace } from "./kept-mail.ts";

/**
 * relayd hands its mail to a real Postfix, which hands it on to another relayd whose spool shows
 * what has come through.
 */
const root = process.getuid?.() === 0 ? false : "Postfix needs root";
const skip = root || present("postfix", "openssl");

const listeners = (ca: TestCa) => {
  const issued = ca.issue("postfix.test", { names: ["postfix.test"] });
  const tls = [`smtpd_tls_key_file=${issued.key}`, `smtpd_tls_cert_file=${issued.certificate}`];
  return {
    plain: [],
    starttls: [...tls, "smtpd_tls_security_level=encrypt"],
    implicit: [...tls, "smtpd_tls_security_level=encrypt", "smtpd_tls_wrappermode=yes"],
    certified: [
      ...tls,
      "smtpd_tls_security_level=encrypt",
      "smtpd_tls_req_ccert=yes",
      "smtpd_tls_ask_ccert=yes",
      `smtpd_tls_CAfile=${ca.certificate}`,
    ],
    refusing: [
      "smtpd_delay_reject=no",
      "smtpd_sender_restrictions = check_sender_access inline:{ {later@a.test = 451 4.7.1 sender later} {never@a.test = 550 5.7.1 sender never} }",
      "smtpd_recipient_restrictions = check_recipient_access inline:{ {later@b.test = 450 4.2.0 come back} {never@b.test = 550 5.1.1 go away} }, permit",
      "smtpd_end_of_data_restrictions = check_recipient_access inline:{ {full@b.test = 452 4.3.1 no room} {spam@b.test = 554 5.7.1 no spam} }",
    ],
    closed: [
      "smtpd_delay_reject=no",
      "smtpd_client_restrictions = check_client_access inline:{ {127.0.0.1 = 554 5.7.1 not you} }",
    ],
  };
};

/** Everything around relayd, for all tests of this file. */
async function openWorld() {
  const ca = makeTestCa();
  after(() => ca[Symbol.dispose]());
  const sink = await TestRelay.start(["--server-smtp-config=smtputf8"]);
  const postfix = await startPostfix({ next: sink.port, listeners: listeners(ca) });
  after(() => postfix.stop());
  return { ca, sink, postfix };
}

const world = skip === false ? await openWorld() : null;

function peers() {
  if (world === null) throw new Error("Unreachable: skipped");
  return world;
}

/** Messages whose first recipient is this one, when so many have come through. */
async function throughPostfix(recipient: string, count = 1): Promise<KeptMail[]> {
  const mine = (mails: readonly KeptMail[]) =>
    mails.filter((mail) => field(mail, "To-Remote") === recipient);
  for (let kept = await untilKept(peers().sink.spool, 1); ; ) {
    if (mine(kept).length >= count) return mine(kept);
    kept = await untilKept(peers().sink.spool, kept.length + 1);
  }
}

const verified = () => [
  ...["--client-tls", "--client-tls-required", `--client-tls-verify=${peers().ca.certificate}`],
  "--client-tls-verify-name=postfix.test",
];

test("a message passes through Postfix unchanged", { skip }, async () => {
  const spool = temporarySpool();
  const content =
    "Subject: plain\r\n\r\n.\r\n..\r\n.dot\r\n  blanks  \r\n\ttab\r\n\xe9\xff\r\n\r\n";
  putMessage(spool, "emailrelay.1.1.1", { to: ["plain@b.test"], content });
  assert.equal((await asClient(peers().postfix.address("plain"), spool)).code, 0);
  const [mail] = await throughPostfix("plain@b.test");
  assert.equal(withoutTrace(mail?.content ?? ""), content);
  assert.equal(field(mail, "From"), "alice@example.com");
  assert.equal(field(mail, "Content"), "8bit");
  assert.deepEqual(reasons(spool), []);
});

test("bare CR and LF from the spool pass a Postfix that rejects them, as line ends", {
  skip,
}, async () => {
  const spool = temporarySpool();
  const content = "Subject: bare\r\n\r\none\ntwo\rthree\r\n.\nfour\n.\r\nfive";
  putMessage(spool, "emailrelay.1.1.1", { to: ["bare@b.test"], content });
  const { code } = await asClient(peers().postfix.address("plain"), spool);
  assert.deepEqual([code, reasons(spool)], [0, []]);
  const [mail] = await throughPostfix("bare@b.test");
  assert.equal(
    withoutTrace(mail?.content ?? ""),
    "Subject: bare\r\n\r\none\r\ntwo\r\nthree\r\n.\r\nfour\r\n.\r\nfive\r\n",
  );
});

test("STARTTLS with a verified certificate of the right name", { skip }, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["starttls@b.test"] });
  const { code } = await asClient(peers().postfix.address("starttls"), spool, ...verified());
  assert.deepEqual([code, reasons(spool)], [0, []]);
  const [mail] = await throughPostfix("starttls@b.test");
  assert.match(mail?.content ?? "", /\(using TLSv1\.3 with cipher \S+/);
  assert.match(mail?.content ?? "", /with ESMTPS id/);
});

test("implicit TLS", { skip }, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["implicit@b.test"] });
  const { code } = await asClient(
    peers().postfix.address("implicit"),
    spool,
    ...["--client-tls-connection", `--client-tls-verify=${peers().ca.certificate}`],
    "--client-tls-verify-name=postfix.test",
  );
  assert.deepEqual([code, reasons(spool)], [0, []]);
  const [mail] = await throughPostfix("implicit@b.test");
  assert.match(mail?.content ?? "", /with ESMTPS id/);
});

test("--client-tls-certificate is shown to a Postfix that wants one, in TLS 1.2 and 1.3", {
  skip,
}, async () => {
  const { combined } = peers().ca.issue("client.test");
  for (const highest of ["-tlsv1.2", "-tlsv1.3"]) {
    const spool = temporarySpool();
    putMessage(spool, "emailrelay.1.1.1", { to: [`certificate${highest}@b.test`] });
    const { code, stderr } = await asClient(
      peers().postfix.address("certified"),
      spool,
      ...verified(),
      ...[`--client-tls-certificate=${combined}`, `--tls-config=${highest}`],
    );
    assert.deepEqual([code, reasons(spool)], [0, []], stderr);
    const [mail] = await throughPostfix(`certificate${highest}@b.test`);
    assert.match(mail?.content ?? "", /Client CN "client\.test", Issuer "relayd test CA"/);
  }
});

test("a certificate of another CA fails the message for TLS, and nothing is sent", {
  skip,
}, async () => {
  using other = makeTestCa("another CA");
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["wrong-ca@b.test"] });
  const { code, stderr } = await asClient(
    peers().postfix.address("starttls"),
    spool,
    ...["--client-tls", "--client-tls-required", `--client-tls-verify=${other.certificate}`],
  );
  assert.equal(code, 1);
  assert.match(stderr, /tls error/);
  assert.match(reasons(spool).join(), /(?:ssl|tls).* \(\)$/);
  assert.doesNotMatch(peers().postfix.log(), /wrong-ca/);
});

test("a certificate of another name fails the message for TLS", { skip }, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["wrong-name@b.test"] });
  const { code, stderr } = await asClient(
    peers().postfix.address("starttls"),
    spool,
    ...["--client-tls", `--client-tls-verify=${peers().ca.certificate}`],
    "--client-tls-verify-name=other.test",
  );
  assert.equal(code, 1);
  assert.match(stderr, /tls error/);
  assert.match(reasons(spool).join(), /(?:ssl|tls).* \(\)$/);
  assert.doesNotMatch(peers().postfix.log(), /wrong-name/);
});

test("without TLS, a Postfix that insists on it refuses with 530, which fails the message", {
  skip,
}, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["insecure@b.test"] });
  assert.equal((await asClient(peers().postfix.address("starttls"), spool)).code, 0);
  assert.deepEqual(reasons(spool), ["5.7.0 Must issue a STARTTLS command first (530)"]);
});

test("--client-tls-required fails the message when Postfix offers no STARTTLS", {
  skip,
}, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["no-starttls@b.test"] });
  await asClient(peers().postfix.address("plain"), spool, "--client-tls", "--client-tls-required");
  assert.deepEqual(reasons(spool), [
    "smtp error: tls is mandated but the server cannot do starttls ()",
  ]);
});

test("what Postfix refuses fails with its reply and code, and the other mail is delivered", {
  skip,
}, async () => {
  const spool = temporarySpool();
  const put = (n: number, recipient: string) =>
    putMessage(spool, `emailrelay.1.1.${n}`, { to: [recipient] });
  put(1, "later@b.test");
  put(2, "never@b.test");
  put(3, "full@b.test");
  put(4, "spam@b.test");
  put(5, "accepted@b.test");
  const { code } = await asClient(peers().postfix.address("refusing"), spool);
  assert.equal(code, 0);
  const rejected = "one or more recipients rejected";
  assert.deepEqual(reasons(spool), [
    `${rejected} (450)`,
    `${rejected} (550)`,
    "4.3.1 <full@b.test>: Recipient address rejected: no room (452)",
    "5.7.1 <spam@b.test>: Recipient address rejected: no spam (554)",
  ]);
  await throughPostfix("accepted@b.test");
});

test("with pipelining, refused senders and recipients fail the same way", { skip }, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["first@b.test", "later@b.test"] });
  putMessage(spool, "emailrelay.1.1.2", { to: ["never@b.test", "last@b.test"] });
  putMessage(spool, "emailrelay.1.1.3", { to: ["after-refusals@b.test"] });
  const pipelining = "--client-smtp-config=pipelining";
  const { code } = await asClient(peers().postfix.address("refusing"), spool, pipelining);
  assert.equal(code, 0);
  const rejected = "one or more recipients rejected";
  assert.deepEqual(reasons(spool), [`${rejected} (450)`, `${rejected} (550)`]);
  await throughPostfix("after-refusals@b.test");
});

test("--forward-to-some delivers to the recipients that Postfix takes", { skip }, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["some@b.test", "never@b.test", "later@b.test"] });
  await asClient(peers().postfix.address("refusing"), spool, "--forward-to-some");
  const [mail] = await throughPostfix("some@b.test");
  assert.deepEqual(mail?.envelope.get("To-Remote"), ["some@b.test"]);
  assert.equal(reasons(spool).length, 1);
});

test("a Postfix that does not want to talk to us leaves everything queued", { skip }, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["unwelcome@b.test"] });
  const { code, stderr } = await asClient(peers().postfix.address("closed"), spool);
  assert.equal(code, 1);
  assert.match(stderr, /not you/);
  assert.deepEqual(reasons(spool), []);
});

test("SMTPUTF8 addresses pass through Postfix", { skip }, async () => {
  const spool = temporarySpool();
  const content = "Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\n\xc3\xa9\r\n";
  putMessage(spool, "emailrelay.1.1.1", { to: ["jürgen@b.test"], content });
  const { code, stderr } = await asClient(peers().postfix.address("plain"), spool);
  assert.deepEqual([code, reasons(spool)], [0, []], stderr);
  const [mail] = await throughPostfix("jürgen@b.test");
  assert.equal(withoutTrace(mail?.content ?? ""), content);
  assert.equal(field(mail, "Utf8MailboxNames"), "1");
});

test("PIPELINING with many recipients keeps to Postfix's rules", { skip }, async () => {
  const spool = temporarySpool();
  const to = Array.from({ length: 50 }, (_, n) => `pipelined${n}@b.test`);
  putMessage(spool, "emailrelay.1.1.1", { to });
  const pipelining = "--client-smtp-config=pipelining";
  const { code, stderr } = await asClient(peers().postfix.address("plain"), spool, pipelining);
  assert.deepEqual([code, reasons(spool)], [0, []], stderr);
  const [mail] = await throughPostfix("pipelined0@b.test");
  assert.deepEqual(mail?.envelope.get("To-Remote")?.toSorted(), to.toSorted());
  assert.doesNotMatch(peers().postfix.log(), /improper|PIPELINING/);
});

test("many messages go over one connection, with STARTTLS", { skip }, async () => {
  const spool = temporarySpool();
  const count = 30;
  for (let n = 1; n <= count; n++) {
    const content = `Subject: ${n}\r\n\r\n.${"x".repeat(n * 500)}\r\n`;
    putMessage(spool, `emailrelay.1.1.${n}`, { to: ["many@b.test"], content });
  }
  const before = peers().postfix.log().length;
  const pipelining = "--client-smtp-config=pipelining";
  const { code, stderr } = await asClient(
    peers().postfix.address("starttls"),
    spool,
    ...verified(),
    pipelining,
    "--forward-parallel=1", // A slow machine would open more.
  );
  assert.deepEqual([code, reasons(spool)], [0, []], stderr);
  const mails = await throughPostfix("many@b.test", count);
  const bodies = new Set(mails.map((mail) => withoutTrace(mail.content)));
  for (let n = 1; n <= count; n++) {
    assert.ok(bodies.has(`Subject: ${n}\r\n\r\n.${"x".repeat(n * 500)}\r\n`), `message ${n}`);
  }
  const summary = new RegExp(`ehlo=2 starttls=1 mail=${count} rcpt=${count} data=${count} quit=1`);
  await peers().postfix.logged(summary);
  assert.equal(peers().postfix.log().slice(before).match(summary)?.length, 1);
});

test("a whole relay: client, relayd, Postfix, relayd", { skip }, async () => {
  const relay = await TestRelay.start([
    `--forward-to=${peers().postfix.address("starttls")}`,
    "--forward-on-disconnect",
    ...verified(),
  ]);
  const content = "Subject: whole\r\n\r\nbody";
  assert.match(await sendMail(relay.port, { to: ["whole@b.test"], content }), /^250 /);
  const [mail] = await throughPostfix("whole@b.test");
  assert.equal(withoutTrace(mail?.content ?? ""), `${content}\r\n`);
  assert.match(mail?.content ?? "", /^Received: from client\.test .* by relay\.test with ESMTP ;/m);
});
