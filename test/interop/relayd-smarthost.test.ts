import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { present } from "../support/peer.ts";
import { runProgram, TestRelay, temporary, temporarySpool } from "../support/relayd.ts";
import { SmtpPeer } from "../support/smtp-peer.ts";
import { putMessage } from "../support/spool-files.ts";
import { makeTestCa } from "../support/test-ca.ts";
import { asClient, field, keptMail, reasons } from "./kept-mail.ts";

/** relayd hands its mail to another relayd that wants authentication and TLS. */
const skip = present("openssl");

const TOKEN = Buffer.from("user=al@x\x01auth=Bearer ya29.token\x01\x01").toString("base64");

/** A password with everything that xtext must hide. */
const SECRET = "p+20w+2B+3D+C3+A9";

const server = (ca: ReturnType<typeof makeTestCa>): readonly string[] => {
  const { combined } = ca.issue("smarthost.test", { names: ["smarthost.test"] });
  return [`--server-tls-certificate=${combined}`, `--server-auth=${serverSecrets()}`];
};

function serverSecrets(...lines: readonly string[]): string {
  const path = join(temporary(), "server.auth");
  const plain = `server plain alice ${SECRET}`;
  writeFileSync(path, `${[plain, ...lines].join("\n")}\n`, { mode: 0o600 });
  return path;
}

function clientSecrets(...lines: readonly string[]): string {
  const path = join(temporary(), "client.auth");
  writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o600 });
  return `--client-auth=${path}`;
}

async function openWorld() {
  const ca = makeTestCa();
  after(() => ca[Symbol.dispose]());
  const required = [...server(ca), "--server-tls-required"];
  const starttls = await TestRelay.start([...required, "--server-tls"]);
  const implicit = await TestRelay.start([...required, "--server-tls-connection"]);
  const open = await TestRelay.start([
    `--server-auth=${serverSecrets()}`,
    "--server-smtp-config=chunking,smtputf8",
  ]);
  return { ca, starttls, implicit, open };
}

const world = skip === false ? await openWorld() : null;

function peers() {
  if (world === null) throw new Error("Unreachable: skipped");
  return world;
}

const verified = () => [
  `--client-tls-verify=${peers().ca.certificate}`,
  "--client-tls-verify-name=smarthost.test",
];

interface Relayed {
  readonly code: number | null;
  readonly stderr: string;
  readonly reasons: readonly string[];
  readonly mail: ReturnType<typeof keptMail>[number] | undefined;
}

/** One message, from a spool of its own to a smarthost; `mail` is what has newly arrived there. */
async function relay(smarthost: TestRelay, ...more: readonly string[]): Promise<Relayed> {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const before = keptMail(smarthost.spool).length;
  const { code, stderr } = await asClient(`127.0.0.1:${smarthost.port}`, spool, ...more);
  const mail = keptMail(smarthost.spool)[before];
  return { code, stderr, reasons: reasons(spool), mail };
}

for (const mechanism of [
  ...["plain", "login", "cram-md5", "cram-sha1", "cram-sha256", "cram-sha512"],
] as const) {
  test(`AUTH ${mechanism} over STARTTLS, verified`, { skip }, async () => {
    const { starttls } = peers();
    const { code, mail, stderr } = await relay(
      starttls,
      ...["--client-tls", "--client-tls-required", ...verified()],
      ...[clientSecrets(`client plain alice ${SECRET}`), `--client-auth-config=m:${mechanism}`],
    );
    assert.equal(code, 0, stderr);
    assert.equal(field(mail, "Authentication"), "alice");
    assert.equal(field(mail, "MailFromAuthIn"), "alice");
    assert.match(mail?.received ?? "", /with ESMTPSA tls TLS_AES_\w+ ;/);
    const used = `authentication of remote client using mechanism [${mechanism}]`;
    assert.ok(starttls.log.includes(used), starttls.log);
    assert.doesNotMatch(stderr, /p w\+|cCB3K/);
  });
}

test("AUTH over implicit TLS, verified, the strongest mechanism first", { skip }, async () => {
  const { implicit } = peers();
  const { code, mail, stderr } = await relay(
    implicit,
    ...["--client-tls-connection", ...verified()],
    clientSecrets(`client plain alice ${SECRET}`),
  );
  assert.equal(code, 0, stderr);
  assert.match(mail?.received ?? "", /with ESMTPSA tls /);
  assert.match(implicit.log, /using mechanism \[cram-sha512\]/);
});

test("AUTH without TLS, with --client-auth=plain:<id>:<password>", { skip }, async () => {
  const password = Buffer.from("p w+=é").toString("base64");
  const { code, mail, stderr } = await relay(
    peers().open,
    `--client-auth=plain:${Buffer.from("alice").toString("base64")}:${password}`,
    "--client-auth-config=m:plain",
  );
  assert.equal(code, 0, stderr);
  assert.equal(field(mail, "Authentication"), "alice");
  assert.match(mail?.received ?? "", /with ESMTPA ;/);
});

test("AUTH CRAM-MD5 with a mask made by relayd-passwd on both sides", { skip }, async () => {
  const made = await runProgram("relayd-passwd", [], { input: "secret of carol\n" });
  const mask = made.stdout.trim();
  const smarthost = await TestRelay.start([
    `--server-auth=${serverSecrets(`server md5 carol ${mask}`)}`,
  ]);
  const secrets = clientSecrets(`client md5 carol ${mask}`);
  const { code, mail, stderr } = await relay(smarthost, secrets);
  assert.equal(code, 0, stderr);
  assert.equal(field(mail, "Authentication"), "carol");
});

test("a wrong password fails the message with the mechanism, the account and the reply", {
  skip,
}, async () => {
  const { code, stderr, mail, ...rest } = await relay(
    peers().open,
    ...[clientSecrets("client plain alice wrong"), "--client-auth-config=m:plain"],
  );
  assert.equal(code, 1, stderr);
  assert.equal(mail, undefined);
  assert.match(
    rest.reasons.join(),
    /^smtp error: authentication failed using mechanism \[plain\] and plaintext secret for \[alice\] from line 1: \[authentication failed\] \(/,
  );
});

test("an unauthenticated message is refused with 530, which fails it", { skip }, async () => {
  const open = await relay(peers().open);
  assert.deepEqual(open.reasons, ["authentication required (530)"]);
  const tls = await relay(peers().starttls);
  assert.deepEqual(tls.reasons, ["authentication required: use starttls (530)"]);
});

test("what one relayd stores the other passes on: 8-bit, UTF-8 addresses, chunks, AUTH=", {
  skip,
}, async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["jürgen@b.test"], content: "\xc3\xa9\r\n" });
  const { open } = peers();
  const before = keptMail(open.spool).length;
  const secrets = clientSecrets(`client plain alice ${SECRET}`);
  const { code, stderr } = await asClient(`127.0.0.1:${open.port}`, spool, secrets);
  assert.equal(code, 0, stderr);
  const mail = keptMail(open.spool)[before];
  assert.equal(field(mail, "To-Remote"), "jürgen@b.test");
  assert.equal(field(mail, "Utf8MailboxNames"), "1");
  assert.equal(field(mail, "Content"), "8bit");
  assert.equal(mail?.content, "\xc3\xa9\r\n");
});

test("XOAUTH2 sends the given token, and MAIL names the account", { skip }, async () => {
  const issued = peers().ca.issue("smarthost.test", { names: ["smarthost.test"] });
  const tls = { key: readFileSync(issued.key), cert: readFileSync(issued.certificate) };
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("STARTTLS");
    await connection.answer("STARTTLS", "220 go");
    await connection.startTls(tls);
    await connection.answer(/^EHLO /, "250-peer", "250 AUTH PLAIN XOAUTH2");
    await connection.answer(`AUTH XOAUTH2 ${TOKEN}`, "235 accepted");
    await connection.answer("MAIL FROM:<alice@example.com> AUTH=al@x", "250 ok");
    await connection.message();
    connection.say("250 taken");
    await connection.answer("QUIT", "221 bye");
  });
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const { code, stderr } = await asClient(
    peer.address,
    spool,
    ...["--client-tls", "--client-tls-required", ...verified()],
    clientSecrets(`client oauth al@x ${TOKEN}`),
  );
  await peer.done();
  assert.equal(code, 0, stderr);
});

test("XOAUTH2 answers the error of a refused token with an empty line, and fails the message", {
  skip,
}, async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("AUTH XOAUTH2");
    await connection.answer(`AUTH XOAUTH2 ${TOKEN}`, "334 eyJzdGF0dXMiOiI0MDEifQ==");
    await connection.answer("", "535 5.7.8 token expired");
    await connection.gone();
  });
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const secrets = clientSecrets(`client oauth al@x ${TOKEN}`);
  const { code } = await asClient(peer.address, spool, secrets);
  await peer.done();
  assert.equal(code, 1);
  assert.match(reasons(spool).join(), /mechanism \[xoauth2\].*token expired/);
});
