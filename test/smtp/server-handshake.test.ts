import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServerTls } from "../../src/core/config.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { ManualClock, type TestListener, testListener } from "../support/smtp-listener.ts";
import { makeTestCa } from "../support/test-ca.ts";

const starttls: ServerTls = {
  mode: "starttls",
  required: false,
  certificate: [],
  verify: null,
  versions: { min: null, max: null },
};

const never = new AbortController().signal;

/** EHLO and STARTTLS up to the handshake. */
async function readyForTls(listening: TestListener): Promise<RawClient> {
  const client = await RawClient.connect(listening.address);
  await client.reply();
  await client.ask("EHLO x");
  assert.equal(await client.ask("STARTTLS"), "220 ready to start tls");
  return client;
}

test("garbage instead of a handshake ends the session", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({ config: { tls: { ...starttls, certificate } } });
  await using client = await readyForTls(listening);
  client.send("MAIL FROM:<a@b>\r\n");
  await listening.event("tls.failed");
  assert.doesNotMatch(await client.rest(), /250/);
});

test("a handshake that does not come ends the session", async () => {
  using ca = makeTestCa();
  const clock = new ManualClock();
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({
    clock,
    config: { tls: { ...starttls, certificate } },
  });
  await using client = await readyForTls(listening);
  await clock.advance(41);
  assert.equal(await client.line(), "<<EOF>>");
  await listening.event("tls.failed");
});

test("a client that closes its side in the middle of a handshake is gone", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  // Its clock stands still: no patience ends.
  await using listening = await testListener({
    clock: new ManualClock(),
    config: { tls: { ...starttls, certificate } },
  });
  await using client = await readyForTls(listening);
  client.half();
  assert.equal(await client.rest(), "");
  const failed = await listening.event("tls.failed");
  assert.equal("why" in failed ? failed.why : "", "SSL_accept(): [connection closed]");
  const closed = await listening.event("session.closed");
  assert.equal("why" in closed ? closed.why : "", "peer disconnected: ssl accept");
});

test("drain() does not wait for a handshake", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({ config: { tls: { ...starttls, certificate } } });
  await using client = await readyForTls(listening);
  await listening.listener.drain(never);
  assert.equal(await client.rest(), "");
  const closed = await listening.event("session.closed");
  assert.equal("why" in closed ? closed.why : "", "shutting down");
});

test("drain() does not wait for a client that is silent on an implicit TLS port", async () => {
  using ca = makeTestCa();
  const certificate = [ca.issue("localhost").combined];
  await using listening = await testListener({
    config: { tls: { ...starttls, mode: "implicit", certificate } },
  });
  await using client = await RawClient.connect(listening.address);
  await listening.event("session.opened");
  await listening.listener.drain(never);
  assert.equal(await client.rest(), "");
});

test("a TLS client on a plain port is told of in the log", async () => {
  await using listening = await testListener();
  await using client = await RawClient.connect(listening.address);
  await client.startTls().catch(() => undefined);
  const event = await listening.event("note");
  assert.ok("text" in event);
  assert.equal(
    event.text,
    "received unexpected tls handshake packet from remote client: try enabling implicit tls (smtps)",
  );
});
