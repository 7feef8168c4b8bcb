import assert from "node:assert/strict";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { ConnectionOptions } from "node:tls";
import type { ServerTls } from "../../src/core/config.ts";
import { RelayError } from "../../src/core/errors.ts";
import { loadServerKeys } from "../../src/io/server-tls.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { type TestListener, testListener } from "../support/smtp-listener.ts";
import { type Issued, makeTestCa } from "../support/test-ca.ts";

const starttls: ServerTls = {
  mode: "starttls",
  required: false,
  certificate: [],
  verify: null,
  versions: { min: null, max: null },
};

/** EHLO and STARTTLS up to the handshake. */
async function readyForTls(listening: TestListener): Promise<RawClient> {
  const client = await RawClient.connect(listening.address);
  await client.reply();
  await client.ask("EHLO x");
  assert.equal(await client.ask("STARTTLS"), "220 ready to start tls");
  return client;
}

async function sendOne(client: RawClient): Promise<void> {
  await client.ask("EHLO x");
  await sendMessage(client);
}

async function sendMessage(client: RawClient): Promise<void> {
  await client.ask("MAIL FROM:<a@b>");
  await client.ask("RCPT TO:<r@x>");
  await client.ask("DATA");
  assert.equal(await client.ask("x\r\n."), "250 message processed");
}

function withCertificate(issued: Issued): ConnectionOptions {
  return { key: readFileSync(issued.key), cert: readFileSync(issued.certificate) };
}

/** The reason the server gives when it turns the client away. */
async function refusal(tls: ServerTls, options: ConnectionOptions): Promise<string> {
  await using listening = await testListener({ config: { tls } });
  await using client = await readyForTls(listening);
  await client.startTls(options).catch(() => undefined);
  const event = await listening.event("tls.failed");
  assert.equal(await client.rest().catch(() => ""), "");
  assert.ok(!listening.events.some(({ kind }) => kind === "tls.established"));
  const closed = await listening.event("session.closed");
  assert.ok("why" in closed && "why" in event);
  assert.equal(closed.why, "peer disconnected: ssl accept");
  return event.why;
}

test("STARTTLS: the trace, the submission and the events name the encryption", async () => {
  using ca = makeTestCa();
  const { key, certificate } = ca.issue("localhost");
  await using listening = await testListener({
    config: { tls: { ...starttls, certificate: [key, certificate] } },
  });
  await using client = await readyForTls(listening);
  await client.startTls();
  await sendOne(client);
  const [message] = listening.messages;
  assert.equal(message?.submission.tls, "TLSv1.3 TLS_AES_256_GCM_SHA384");
  assert.equal(message?.submission.envelope.clientCertificate, "");
  assert.match(
    message?.content ?? "",
    /^Received: from x \(\[127\.0\.0\.1\]\) by relay\.test\.localnet with ESMTPS tls TLS_AES_256_GCM_SHA384 ; \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\nx\r\n$/,
  );
  const event = await listening.event("tls.established");
  assert.ok("cipher" in event);
  assert.equal(`${event.protocol} ${event.cipher}`, "TLSv1.3 TLS_AES_256_GCM_SHA384");
});

test("STARTTLS without a new EHLO: the trace has the client's address for its name", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({ config: { tls: { ...starttls, certificate } } });
  await using client = await readyForTls(listening);
  await client.startTls();
  await sendMessage(client);
  assert.match(
    listening.messages[0]?.content ?? "",
    /^Received: from \[127\.0\.0\.1\] \(\[127\.0\.0\.1\]\) by relay\.test\.localnet with ESMTPS /,
  );
});

test("implicit TLS: MAIL needs an EHLO", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({
    config: { tls: { ...starttls, mode: "implicit", certificate } },
  });
  await using client = await RawClient.connect(listening.address);
  await client.startTls();
  await client.reply();
  assert.match(await client.ask("MAIL FROM:<a@b>"), /^503 /);
});

test("implicit TLS: the handshake comes before the greeting, and STARTTLS is unknown", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({
    config: { tls: { ...starttls, mode: "implicit", required: true, certificate } },
  });
  await using client = await RawClient.connect(listening.address);
  await client.startTls({ maxVersion: "TLSv1.2" });
  assert.match(await client.reply(), /^220 /);
  assert.doesNotMatch(await client.ask("EHLO x"), /STARTTLS/);
  assert.equal(await client.ask("STARTTLS"), "500 command unrecognized");
  await sendOne(client);
  assert.match(listening.messages[0]?.content ?? "", /ESMTPS tls ECDHE_\w+ ;/);
});

test("a client's certificate is recorded though nobody checks it", async () => {
  using ca = makeTestCa();
  using other = makeTestCa("somebody else");
  const shown = other.issue("client");
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({ config: { tls: { ...starttls, certificate } } });
  await using client = await readyForTls(listening);
  await client.startTls(withCertificate(shown));
  await sendOne(client);
  assert.equal(
    listening.messages[0]?.submission.envelope.clientCertificate,
    readFileSync(shown.certificate, "utf8").trimEnd(),
  );
});

test("<none>: clients are not asked for a certificate", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  const tls = { ...starttls, certificate, verify: "<none>" };
  await using listening = await testListener({ config: { tls } });
  await using client = await readyForTls(listening);
  await client.startTls(withCertificate(ca.issue("client")));
  await sendOne(client);
  assert.equal(listening.messages[0]?.submission.envelope.clientCertificate, "");
});

test("verify: a client needs a certificate of the right authority", async () => {
  using ca = makeTestCa();
  using other = makeTestCa("somebody else");
  const certificate = [ca.issue("localhost").combined];
  const tls = { ...starttls, certificate, verify: ca.certificate };
  assert.match(await refusal(tls, {}), /^SSL_accept\(\): \[.*certificate.*\]$/);
  assert.match(
    await refusal(tls, withCertificate(other.issue("client"))),
    /certificate verify failed/,
  );
  assert.match(
    await refusal(tls, withCertificate(ca.issue("client", { expired: true }))),
    /expired/,
  );
  await using listening = await testListener({ config: { tls } });
  for (const shown of [ca.issue("client"), ca.issue("old", { version1: true })]) {
    await using client = await readyForTls(listening);
    await client.startTls(withCertificate(shown));
    await sendOne(client);
  }
  assert.equal(listening.messages.length, 2);
});

test("verify: an intermediate certificate may stand in the CA file or directory", async () => {
  using ca = makeTestCa();
  const between = ca.intermediate("between");
  const shown = between.issue("client");
  const both = join(ca.directory, "both.pem");
  writeFileSync(
    both,
    readFileSync(between.certificate, "utf8") + readFileSync(ca.certificate, "utf8"),
  );
  const certificate = [ca.issue("localhost").combined];
  for (const verify of [both, ca.directory]) {
    await using listening = await testListener({
      config: { tls: { ...starttls, certificate, verify } },
    });
    await using client = await readyForTls(listening);
    await client.startTls(withCertificate(shown));
    await sendOne(client);
  }
});

test("TLS 1.1 is refused unless it is asked for", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  const tls = { ...starttls, certificate };
  const old: ConnectionOptions = {
    minVersion: "TLSv1.1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0",
  };
  assert.match(await refusal(tls, old), /unsupported protocol|version/);
  await using listening = await testListener({
    config: { tls: { ...tls, versions: { min: "TLSv1", max: null } } },
  });
  await using client = await readyForTls(listening);
  await client.startTls(old);
  await sendOne(client);
  assert.match(listening.messages[0]?.submission.tls ?? "", /^TLSv1\.1 /);
});

test("reloadTls() is for the handshakes to come, and keeps the old keys when the new are bad", async () => {
  using ca = makeTestCa();
  const first = ca.issue("first").combined;
  const second = ca.issue("second").combined;
  const used = join(ca.directory, "used.pem");
  copyFileSync(first, used);
  await using listening = await testListener({
    config: { tls: { ...starttls, certificate: [used] } },
  });
  copyFileSync(second, used);
  listening.listener.reloadTls();
  writeFileSync(used, "rubbish");
  assert.throws(() => listening.listener.reloadTls(), { code: "TLS_SETUP" });
  await using client = await readyForTls(listening);
  let name: unknown = "";
  await client.startTls({
    rejectUnauthorized: true,
    ca: readFileSync(ca.certificate),
    checkServerIdentity: (_, peer) => {
      name = peer.subject.CN;
      return undefined;
    },
  });
  assert.equal(name, "second");
});

test("loadServerKeys() names the file and the option that are wrong", () => {
  using ca = makeTestCa();
  const { key, certificate, combined } = ca.issue("localhost");
  const rubbish = join(ca.directory, "rubbish.pem");
  writeFileSync(rubbish, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
  const other = ca.issue("other");
  const cases: [Partial<ServerTls>, string, RegExp][] = [
    [
      { certificate: ["/nowhere.pem"] },
      "--server-tls-certificate",
      /cannot open ssl certificate file: \/nowhere\.pem/,
    ],
    [
      { certificate: [certificate] },
      "--server-tls-certificate",
      /no private key in .*pem|no private key in/,
    ],
    [{ certificate: [key] }, "--server-tls-certificate", /no certificate in/],
    [
      { certificate: [rubbish, certificate] },
      "--server-tls-certificate",
      /cannot use .*rubbish\.pem/,
    ],
    [{ certificate: [other.key, certificate] }, "--server-tls-certificate", /cannot use/],
    [{ certificate: [combined], verify: "/nowhere.pem" }, "--server-tls-verify", /\/nowhere\.pem/],
    [{ certificate: [combined], verify: key }, "--server-tls-verify", /no certificate in/],
    [{ certificate: [] }, "--server-tls-certificate", /no certificate file given/],
  ];
  for (const [part, where, message] of cases) {
    assert.throws(
      () => loadServerKeys({ ...starttls, ...part }),
      (error: unknown) =>
        error instanceof RelayError &&
        error.code === "TLS_SETUP" &&
        error.where === where &&
        message.test(error.message),
      String(message),
    );
  }
});
