import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TlsOptions } from "node:tls";
import type { ClientTls } from "../../src/core/config.ts";
import type { Receipt } from "../../src/core/transport.ts";
import { openClientTls } from "../../src/smtp/client-tls.ts";
import { aMessage, testClient, tlsDefaults } from "../support/client-under-test.ts";
import { type PeerConnection, SmtpPeer } from "../support/smtp-peer.ts";
import { type Issued, makeTestCa } from "../support/test-ca.ts";

const ca = makeTestCa();
const otherCa = makeTestCa("another CA");
after(() => {
  ca[Symbol.dispose]();
  otherCa[Symbol.dispose]();
});
const server = ca.issue("mail.test", { names: ["mail.test"] });

const identity = ({ key, certificate }: Issued): TlsOptions => ({
  key: readFileSync(key),
  cert: readFileSync(certificate),
});

async function takesMail(connection: PeerConnection): Promise<void> {
  await connection.message();
  connection.say("250 ok");
  await connection.gone();
}

/** STARTTLS with this certificate, then mail. */
const startsTls = (options: TlsOptions) => async (connection: PeerConnection) => {
  await connection.greet("STARTTLS", "8BITMIME");
  await connection.answer("STARTTLS", "220 go");
  if (!(await connection.startTls(options))) return;
  await connection.answer("EHLO client.test", "250 peer.test");
  await takesMail(connection);
};

async function deliver(
  tls: Partial<ClientTls>,
  script: (connection: PeerConnection) => Promise<void>,
): Promise<{ receipt: Receipt; session: string; failed: string[] }> {
  await using peer = await SmtpPeer.listen(script);
  await using client = testClient({ config: { tls: { ...tlsDefaults, ...tls } } });
  const receipt = await client.deliver(peer.address, aMessage);
  const session = client.transport.session?.tls ?? "";
  const failed = client.events.flatMap((event) => (event.kind === "tls.failed" ? [event.why] : []));
  return { receipt, session, failed };
}

function assertTlsTrouble({ receipt, failed }: Awaited<ReturnType<typeof deliver>>): void {
  assert.deepEqual(receipt, {
    kind: "lost",
    trouble: {
      kind: "tls",
      connected: true,
      why: "peer disconnected: ssl connect",
      reply: null,
    },
    unknown: false,
  });
  assert.match(failed[0] ?? "", /^SSL_connect\(\): \[.+\]$/);
}

const verified = { verify: ca.certificate, verifyName: "mail.test" };

test("STARTTLS accepts any certificate when none is verified", async () => {
  const selfSigned = otherCa.issue("whoever");
  const { receipt, session } = await deliver({}, startsTls(identity(selfSigned)));
  assert.equal(receipt.kind, "accepted");
  assert.match(session, /^TLSv1\.3 TLS_/);
});

test("STARTTLS verifies chain and name", async () => {
  const { receipt } = await deliver(verified, startsTls(identity(server)));
  assert.equal(receipt.kind, "accepted");
});

test("a certificate of another CA is refused", async () => {
  const wrong = otherCa.issue("mail.test", { names: ["mail.test"] });
  assertTlsTrouble(await deliver(verified, startsTls(identity(wrong))));
});

test("a certificate for another name is refused when the name is verified", async () => {
  const wrong = ca.issue("other.test", { names: ["other.test"] });
  assertTlsTrouble(await deliver(verified, startsTls(identity(wrong))));
  const nameless = await deliver({ verify: ca.certificate }, startsTls(identity(wrong)));
  assert.equal(nameless.receipt.kind, "accepted");
});

test("an expired certificate is refused", async () => {
  const expired = ca.issue("mail.test", { names: ["mail.test"], expired: true });
  assertTlsTrouble(await deliver(verified, startsTls(identity(expired))));
});

test("a version 1 certificate with only a common name is verified", async () => {
  const old = ca.issue("mail.test", { version1: true });
  const { receipt } = await deliver(verified, startsTls(identity(old)));
  assert.equal(receipt.kind, "accepted");
});

test("an intermediate certificate may stand in the CA file", async () => {
  const between = ca.intermediate("between");
  const leaf = between.issue("mail.test", { names: ["mail.test"] });
  const list = join(ca.directory, "list.pem");
  const texts = [ca, between].map(({ certificate }) => readFileSync(certificate, "latin1"));
  writeFileSync(list, `# our CAs\n${texts.join("\nthe one between\n")}`);
  const good = await deliver({ ...verified, verify: list }, startsTls(identity(leaf)));
  assert.equal(good.receipt.kind, "accepted");
  assertTlsTrouble(await deliver(verified, startsTls(identity(leaf))));
});

test("CA certificates may be files of a directory", async () => {
  const { receipt } = await deliver(
    { ...verified, verify: ca.directory },
    startsTls(identity(server)),
  );
  assert.equal(receipt.kind, "accepted");
});

test("<default> is the machine's list, which does not know a test CA", async () => {
  assertTlsTrouble(await deliver({ verify: "<default>" }, startsTls(identity(server))));
});

test("a client certificate is shown, and the server name said", async () => {
  const own = ca.issue("client.test");
  let seen: unknown = null;
  let name: unknown = null;
  const options: TlsOptions = {
    ...identity(server),
    requestCert: true,
    ca: readFileSync(ca.certificate),
    SNICallback: (servername, done) => {
      name = servername;
      done(null);
    },
  };
  const settings = { certificate: [own.key, own.certificate], serverName: "mail.test" };
  await using peer = await SmtpPeer.listen(async (connection) => {
    await startsTls(options)(connection);
    seen = connection.peerName;
  });
  await using client = testClient({ config: { tls: { ...tlsDefaults, ...settings } } });
  assert.equal((await client.deliver(peer.address, aMessage)).kind, "accepted");
  await client.transport.quit();
  await peer.done();
  assert.deepEqual([seen, name], ["client.test", "mail.test"]);
});

test("a server that hangs up without a word after a TLS 1.3 handshake is TLS trouble, with 1.2 a lost connection", async () => {
  for (const [maxVersion, kind] of [
    ["TLSv1.3", "tls"],
    ["TLSv1.2", "connection"],
  ] as const) {
    const { receipt } = await deliver({}, async (connection) => {
      await connection.greet("STARTTLS");
      await connection.answer("STARTTLS", "220 go");
      await connection.startTls({ ...identity(server), maxVersion });
      connection.close();
    });
    assert.equal(receipt.kind === "lost" && receipt.trouble.kind, kind, maxVersion);
  }
});

test("a server that refuses our certificate after a TLS 1.3 handshake is TLS trouble", async () => {
  const files = ["-cert", server.certificate, "-key", server.key, "-CAfile", ca.certificate];
  const strict = ["-Verify", "1", "-verify_return_error", "-accept", "127.0.0.1:0"];
  const program = spawn("openssl", ["s_server", ...files, ...strict], { stdio: "pipe" });
  program.stdin.on("error", () => undefined);
  const address = await new Promise<string>((resolve, reject) => {
    let text = "";
    program.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const [, found] = /^ACCEPT (\S+)$/m.exec(text) ?? [];
      if (found !== undefined) resolve(found);
    });
    program.once("exit", () => reject(new Error(`openssl s_server said: ${text}`)));
  });
  const wrong = otherCa.issue("client.test");
  const tls: ClientTls = { ...tlsDefaults, mode: "implicit", certificate: [wrong.combined] };
  await using client = testClient({ config: { tls } });
  const receipt = await client.deliver(address, aMessage);
  program.kill("SIGKILL");
  assert.equal(receipt.kind === "lost" && receipt.trouble.kind, "tls");
  const failed = client.events.find(({ kind }) => kind === "tls.failed");
  assert.match(failed?.kind === "tls.failed" ? failed.why : "", /^SSL_read\(\): \[.*unknown ca\]$/);
});

test("implicit TLS comes before the greeting", async () => {
  await using peer = await SmtpPeer.listen(
    async (connection) => {
      await connection.greet();
      await takesMail(connection);
    },
    { implicit: identity(server) },
  );
  const tls: ClientTls = { ...tlsDefaults, ...verified, mode: "implicit" };
  await using client = testClient({ config: { tls } });
  assert.equal((await client.deliver(peer.address, aMessage)).kind, "accepted");
  assert.ok(client.events.some(({ kind }) => kind === "tls.established"));
});

test("a plain-text host is TLS trouble for implicit TLS", async () => {
  const result = await deliver({ mode: "implicit" }, async (connection) => {
    connection.say("220 plain text");
    await connection.gone();
  });
  assertTlsTrouble(result);
});

test("without STARTTLS on offer mail goes in plain text, unless TLS is required", async () => {
  const plain = async (connection: PeerConnection) => {
    await connection.greet("8BITMIME");
    await takesMail(connection);
  };
  assert.equal((await deliver({}, plain)).receipt.kind, "accepted");
  const { receipt } = await deliver({ required: true }, async (connection) => {
    await connection.greet("8BITMIME");
    await connection.gone();
  });
  assert.deepEqual(receipt.kind === "lost" && [receipt.trouble.kind, receipt.trouble.why], [
    "tls",
    "smtp error: tls is mandated but the server cannot do starttls",
  ]);
});

test("HELO is no way around required TLS", async () => {
  const { receipt } = await deliver({ required: true }, async (connection) => {
    connection.say("220 ready");
    await connection.answer("EHLO client.test", "502 what");
    await connection.gone();
    assert.equal(connection.rest, "");
  });
  assert.equal(receipt.kind === "lost" && receipt.trouble.kind, "tls");
});

test("454 to STARTTLS is TLS trouble, never plain text", async () => {
  const { receipt } = await deliver({}, async (connection) => {
    await connection.greet("STARTTLS");
    await connection.answer("STARTTLS", "454 not now");
    await connection.gone();
  });
  assert.deepEqual(receipt.kind === "lost" && receipt.trouble, {
    kind: "tls",
    connected: true,
    why: "tls/ssl error: not now",
    reply: { code: 454, text: "not now" },
  });
});

test("plain text that came with the answer to STARTTLS is never used", async () => {
  let rest = "";
  const result = await deliver({}, async (connection) => {
    await connection.greet("STARTTLS");
    await connection.expect("STARTTLS");
    connection.say("220 go", "250-peer.test", "250 AUTH PLAIN");
    await connection.gone();
    rest = connection.rest;
  });
  assert.equal(result.receipt.kind === "lost" && result.receipt.trouble.kind, "tls");
  assert.deepEqual(result.failed, ["STARTTLS: [data received before the handshake]"]);
  assert.equal(rest, "");
});

test("plain text that follows the answer to STARTTLS breaks the handshake", async () => {
  const result = await deliver({}, async (connection) => {
    await connection.greet("STARTTLS");
    await connection.answer("STARTTLS", "220 go");
    await new Promise((resolve) => setTimeout(resolve, 30));
    connection.say("250-peer.test", "250 AUTH PLAIN");
    await connection.gone();
  });
  assertTlsTrouble(result);
});

test("what was offered before STARTTLS is forgotten", async () => {
  await using peer = await SmtpPeer.listen(startsTls(identity(server)));
  await using client = testClient({ config: { tls: tlsDefaults } });
  await client.deliver(peer.address, { ...aMessage, body: "8bit" });
  assert.ok(client.log.includes("tx: MAIL FROM:<a@b>"));
});

test("a handshake that hangs ends at the connection time-out", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("STARTTLS");
    await connection.answer("STARTTLS", "220 go");
    await connection.gone();
  });
  await using client = testClient({ config: { tls: tlsDefaults, connectionTimeoutMs: 200 } });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.deepEqual(receipt.kind === "lost" && [receipt.trouble.kind, receipt.trouble.why], [
    "connection",
    "secure connection timeout",
  ]);
});

test("a host that hangs up in the handshake is trouble with the connection", async () => {
  const { receipt } = await deliver({}, async (connection) => {
    await connection.greet("STARTTLS");
    await connection.answer("STARTTLS", "220 go");
    connection.close();
  });
  assert.deepEqual(receipt.kind === "lost" && [receipt.trouble.kind, receipt.trouble.why], [
    "connection",
    "peer disconnected: ssl connect",
  ]);
});

test("TLS 1.1 is refused unless --tls-config allows it", async () => {
  const old: TlsOptions = {
    ...identity(server),
    minVersion: "TLSv1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0",
  };
  assertTlsTrouble(await deliver({}, startsTls(old)));
  const versions = { min: "TLSv1.1", max: null } as const;
  const { receipt, session } = await deliver({ versions }, startsTls(old));
  assert.equal(receipt.kind, "accepted");
  assert.match(session, /^TLSv1\.1 /);
});

test("openClientTls() names the option and the file that it cannot use", () => {
  const missing = join(ca.directory, "missing.pem");
  assert.throws(() => openClientTls({ ...tlsDefaults, certificate: [missing] }), {
    code: "TLS_SETUP",
    where: "--client-tls-certificate",
    message: `cannot open ssl certificate file: ${missing}`,
  });
  const below = join(ca.certificate, "x");
  assert.throws(() => openClientTls({ ...tlsDefaults, verify: below }), {
    message: `cannot open ssl certificate file: ${below}`,
  });
  assert.throws(() => openClientTls({ ...tlsDefaults, verify: missing }), {
    code: "TLS_SETUP",
    where: "--client-tls-verify",
    message: `cannot open ssl certificate file: ${missing}`,
  });
  assert.throws(() => openClientTls({ ...tlsDefaults, certificate: [ca.certificate] }), {
    code: "TLS_SETUP",
  });
  assert.throws(() => openClientTls({ ...tlsDefaults, verify: server.key }), {
    code: "TLS_SETUP",
    message: `no certificate in ${server.key}`,
  });
});

test("openClientTls() reads changed files again and keeps the old ones if they are bad", () => {
  const first = ca.issue("one");
  const path = join(ca.directory, "changing.pem");
  writeFileSync(path, readFileSync(first.combined));
  const warnings: string[] = [];
  const files = openClientTls({ ...tlsDefaults, certificate: [path] });
  const before = files.context((text) => warnings.push(text));
  assert.equal(
    files.context((text) => warnings.push(text)),
    before,
  );
  writeFileSync(path, "rubbish");
  assert.equal(
    files.context((text) => warnings.push(text)),
    before,
  );
  assert.match(warnings[0] ?? "", /^keeping the tls certificates in use: .*changing\.pem/);
  writeFileSync(path, readFileSync(ca.issue("two").combined));
  assert.notEqual(
    files.context((text) => warnings.push(text)),
    before,
  );
  assert.equal(warnings.length, 1);
});
