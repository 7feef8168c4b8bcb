/** Hosts that take several commands at a time and answer late: looking a recipient up elsewhere takes seconds. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { testClient } from "../support/client-under-test.ts";
import { config, first, give, hasty, pair, ready } from "../support/pipelining.ts";
import { type PeerConnection, SmtpPeer } from "../support/smtp-peer.ts";

/** Longer than a host is waited for that may not understand. */
const SLOW_MS = 6000;
const patient = { ...config, responseTimeoutMs: 300_000, messageTimeoutMs: 0 };

interface Scene {
  readonly log: readonly string[];
  /** So much time passes for the client. */
  readonly pass: (ms: number) => void;
}

function scene(context: TestContext) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const client = testClient({ config: patient });
  const pass = (ms: number) => context.mock.timers.tick(ms);
  return { client, scene: { log: client.log, pass } };
}

/** Says so, and time passes when the client has heard it. */
async function sayAndPass(peer: PeerConnection, { log, pass }: Scene, text: string, ms: number) {
  peer.say(text);
  while (!peer.left && !log.includes(`rx: ${text}`)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  pass(ms);
}

/** Takes a message for x and y; time passes before each RCPT and DATA is answered. */
async function takeSlowly(peer: PeerConnection, at: Scene): Promise<void> {
  await peer.expect(/^MAIL/);
  await sayAndPass(peer, at, "250 slow from", SLOW_MS);
  await peer.expect(/^RCPT TO:<x/);
  await sayAndPass(peer, at, "250 slow x", SLOW_MS);
  await peer.expect(/^RCPT TO:<y/);
  await sayAndPass(peer, at, "250 slow y", SLOW_MS);
  await peer.answer("DATA", "354 go");
  await peer.content();
  peer.say("250 taken");
}

test("late answers to RCPT and DATA are waited for where a group of commands was taken before", async (context) => {
  const { client, scene: at } = scene(context);
  await using peer = await SmtpPeer.listen(async (one) => {
    await first(one);
    await takeSlowly(one, at);
  });
  await ready(client.transport, peer);
  await give(client.transport, "one");
  assert.equal((await give(client.transport, "two", ["x", "y"]))?.kind, "accepted");
  assert.equal(peer.connections, 1);
});

test("a host that is waited for may take no longer than --response-timeout", async () => {
  await using peer = await SmtpPeer.listen(async (one) => {
    await first(one);
    await one.answer(/^MAIL/, "250 from");
    await one.gone();
  });
  await using client = testClient({ config: hasty });
  await ready(client.transport, peer);
  await give(client.transport, "one");
  const receipt = await give(client.transport, "two", ["x", "y"]);
  assert.ok(receipt?.kind === "lost");
  assert.equal(receipt.trouble.why, "smtp error: response timeout after 0.4s");
  assert.equal(peer.connections, 1);
});

test("where DATA together with the recipient is not answered soon, late answers without it are waited for", async (context) => {
  const { client, scene: at } = scene(context);
  await using peer = await SmtpPeer.listen(async (one, index) => {
    if (index > 0) {
      await one.greet("PIPELINING");
      await one.expect(/^MAIL/);
      await sayAndPass(one, at, "250 slow from", SLOW_MS);
      await one.answer(/^RCPT/, "250 to");
      await one.answer("DATA", "354 go");
      await one.content();
      one.say("250 taken");
      return;
    }
    await first(one);
    await one.expect(/^MAIL/);
    await sayAndPass(one, at, "250 from two", SLOW_MS);
    await one.gone();
  });
  await ready(client.transport, peer);
  await give(client.transport, "one");
  assert.equal((await give(client.transport, "two"))?.kind, "accepted");
  assert.equal(peer.connections, 2);
});

test("a host that shows with one message that it takes the next together with it may be late with that one", async (context) => {
  const { client, scene: at } = scene(context);
  await using peer = await SmtpPeer.listen(async (one) => {
    await pair(one);
    one.say("250 a", "250 from", "250 to", "354 go");
    assert.equal(await one.content(), "Subject: b\r\n");
    // These were said before "b", that was the first one so, was taken.
    await one.expect("MAIL FROM:<c@from.test>");
    await one.expect("RCPT TO:<c@to.test>");
    await one.expect("DATA");
    await sayAndPass(one, at, "250 slow b", SLOW_MS);
    one.say("250 from", "250 to", "354 go");
    assert.equal(await one.content(), "Subject: c\r\n");
    one.say("250 c");
  });
  const { transport } = client;
  await ready(transport, peer);
  await give(transport, "one");
  const sent = await Promise.all(["a", "b", "c"].map(async (name) => await give(transport, name)));
  assert.deepEqual(
    sent.map((receipt) => receipt?.kind),
    ["accepted", "accepted", "accepted"],
  );
  assert.equal(peer.connections, 1);
});
