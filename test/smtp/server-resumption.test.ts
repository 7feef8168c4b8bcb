import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import type { ServerTls } from "../../src/core/config.ts";
import { loadServerKeys, type ServerKeys, secure } from "../../src/io/server-tls.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { type TestListener, testListener } from "../support/smtp-listener.ts";
import { type Issued, makeTestCa } from "../support/test-ca.ts";

const implicit: ServerTls = {
  mode: "implicit",
  required: false,
  certificate: [],
  verify: null,
  versions: { min: null, max: null },
};

type Version = "TLSv1.2" | "TLSv1.3";

function only(version: Version): ConnectionOptions {
  return { minVersion: version, maxVersion: version };
}

function withCertificate(issued: Issued): ConnectionOptions {
  return { key: readFileSync(issued.key), cert: readFileSync(issued.certificate) };
}

/** One visit with a message; `resumed` is the session of an earlier one. Returns the session to come again with. */
async function visit(
  listening: TestListener,
  options: ConnectionOptions,
  resumed?: Buffer,
): Promise<Buffer> {
  await using client = await RawClient.connect(listening.address);
  const session = resumed === undefined ? {} : { session: resumed };
  await client.startTls({ ...options, ...session });
  const socket = client.socket as TLSSocket;
  let latest: Buffer | undefined = socket.getSession();
  // With TLS 1.3 what can be resumed comes after the handshake.
  socket.on("session", (ticket: Buffer) => {
    latest = ticket;
  });
  assert.match(await client.reply(), /^220 /);
  assert.equal(socket.isSessionReused(), resumed !== undefined);
  await client.ask("EHLO x");
  await client.ask("MAIL FROM:<a@b>");
  await client.ask("RCPT TO:<r@x>");
  await client.ask("DATA");
  assert.equal(await client.ask("x\r\n."), "250 message processed");
  assert.ok(latest !== undefined);
  return latest;
}

async function visitTwice(version: Version): Promise<void> {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({ config: { tls: { ...implicit, certificate } } });
  const session = await visit(listening, only(version));
  await visit(listening, only(version), session);
  assert.equal(listening.messages.length, 2);
}

test("TLS 1.2: a client may resume its session", async () => {
  await visitTwice("TLSv1.2");
});

test("TLS 1.3: a client may resume its session", async () => {
  await visitTwice("TLSv1.3");
});

async function visitTwiceWithCertificate(version: Version): Promise<void> {
  using ca = makeTestCa();
  const shown = ca.issue("client");
  const certificate = [ca.issue("localhost").combined];
  const tls = { ...implicit, certificate, verify: ca.certificate };
  await using listening = await testListener({ config: { tls } });
  const session = await visit(listening, { ...only(version), ...withCertificate(shown) });
  await visit(listening, only(version), session);
  const recorded = listening.messages.map(({ submission }) => submission.envelope);
  const pem = readFileSync(shown.certificate, "utf8").trimEnd();
  assert.deepEqual(
    recorded.map(({ clientCertificate }) => clientCertificate),
    [pem, pem],
  );
}

test("verify, TLS 1.2: a resumed session still tells the client's certificate", async () => {
  await visitTwiceWithCertificate("TLSv1.2");
});

test("verify, TLS 1.3: a resumed session still tells the client's certificate", async () => {
  await visitTwiceWithCertificate("TLSv1.3");
});

/** One handshake by `secure()`: what it was refused for, or "", and the session to come again with. */
async function shakeHands(
  keys: ServerKeys,
  options: ConnectionOptions,
): Promise<{ why: string; reused: boolean; session: Buffer | undefined }> {
  await using server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const arrived = once(server, "connection");
  const { port } = server.address() as AddressInfo;
  const client = connect({ ...options, port, host: "127.0.0.1", rejectUnauthorized: false });
  client.on("error", () => undefined);
  let session: Buffer | undefined;
  client.on("session", (latest: Buffer) => {
    session = latest;
  });
  const [socket] = (await arrived) as [Socket];
  try {
    const secured = await secure(socket, keys);
    const reused = secured.socket.isSessionReused();
    // With TLS 1.3 the session is sent right after the handshake: what is written a turn later comes after it.
    await turn();
    secured.socket.write("x");
    await once(client, "data");
    return { why: "", reused, session };
  } catch (error) {
    return { why: String(error), reused: false, session: undefined };
  } finally {
    client.destroy();
    socket.destroy();
  }
}

/** Why a client is refused that resumes a session which it got where certificates are asked for, but not judged. */
async function refusalOfResumed(keys: ServerKeys, options: ConnectionOptions): Promise<string> {
  const { session } = await shakeHands({ ...keys, verify: false }, options);
  assert.ok(session !== undefined);
  const again = { ...options, session };
  assert.equal((await shakeHands({ ...keys, verify: false }, again)).reused, true);
  return (await shakeHands(keys, again)).why;
}

test("secure() judges a resumed session as it judges a full handshake", async () => {
  using ca = makeTestCa();
  using other = makeTestCa("somebody else");
  const certificate = [ca.issue("localhost").combined];
  const keys = loadServerKeys({ ...implicit, certificate, verify: ca.certificate });
  const stranger = withCertificate(other.issue("client"));
  assert.match(await refusalOfResumed(keys, only("TLSv1.2")), /no client certificate/);
  assert.match(await refusalOfResumed(keys, only("TLSv1.3")), /no client certificate/);
  assert.match(
    await refusalOfResumed(keys, { ...only("TLSv1.2"), ...stranger }),
    /certificate verify failed/,
  );
  assert.match(
    await refusalOfResumed(keys, { ...only("TLSv1.3"), ...stranger }),
    /certificate verify failed/,
  );
});

test("a session from before the keys were loaded again is not resumed", async () => {
  using ca = makeTestCa();
  using other = makeTestCa("somebody else");
  const tls = { ...implicit, certificate: [ca.issue("localhost").combined] };
  const options = { ...only("TLSv1.2"), ...withCertificate(ca.issue("client")) };
  const before = loadServerKeys({ ...tls, verify: ca.certificate });
  const { session } = await shakeHands(before, options);
  assert.ok(session !== undefined);
  const after = loadServerKeys({ ...tls, verify: other.certificate });
  const { why } = await shakeHands(after, { ...options, session });
  assert.match(why, /certificate verify failed/);
});
