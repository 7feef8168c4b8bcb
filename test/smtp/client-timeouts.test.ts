import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClientConfig } from "../../src/core/config.ts";
import type { Receipt } from "../../src/core/transport.ts";
import { aMessage, clientDefaults, contentOf, testClient } from "../support/client-under-test.ts";
import { type PeerConnection, SmtpPeer } from "../support/smtp-peer.ts";

const impatient: Partial<ClientConfig> = { responseTimeoutMs: 100 };
const LATE = "smtp error: response timeout after 0.1s";

/** What becomes of a message when the smarthost does this. */
async function deliver(
  script: (peer: PeerConnection) => Promise<void>,
  config: Partial<ClientConfig>,
  content = contentOf("x\r\n"),
): Promise<Receipt> {
  await using peer = await SmtpPeer.listen(script);
  await using client = testClient({ config });
  return await client.deliver(peer.address, aMessage, content);
}

function assertLost(receipt: Receipt, why: string, unknown = false): void {
  const trouble = { kind: "connection", connected: true, why, reply: null };
  assert.deepEqual(receipt, { kind: "lost", trouble, unknown });
}

/** Answers so many commands, then nothing. */
const stallsAfter = (answers: number) => async (peer: PeerConnection) => {
  peer.say("220 ready");
  for (let count = 0; count < answers; count += 1) {
    await peer.answer(/./, count === 3 ? "354 go" : "250 ok");
  }
  await peer.gone();
};

test("a stall after EHLO ends at the response time-out", async () => {
  assertLost(await deliver(stallsAfter(0), impatient), LATE);
});

test("a stall after MAIL ends at the response time-out", async () => {
  assertLost(await deliver(stallsAfter(1), impatient), LATE);
});

test("a stall after RCPT ends at the response time-out", async () => {
  assertLost(await deliver(stallsAfter(2), impatient), LATE);
});

test("a stall after DATA ends at the response time-out", async () => {
  assertLost(await deliver(stallsAfter(3), impatient), LATE);
});

test("a stall after the final dot ends at the response time-out, and nobody knows", async () => {
  assertLost(await deliver(stallsAfter(4), impatient), LATE, true);
});

test("a host that takes no more content ends at the response time-out", async () => {
  const big = Array.from({ length: 400 }, () => Buffer.alloc(65_536, "x"));
  const receipt = await deliver(
    async (peer) => {
      await peer.greet();
      await peer.answer(/^MAIL/, "250 ok");
      await peer.answer(/^RCPT/, "250 ok");
      await peer.answer(/^DATA/, "354 go");
      peer.stall();
      await new Promise((resolve) => setTimeout(resolve, 400));
    },
    impatient,
    contentOf(...big),
  );
  assertLost(receipt, LATE);
});

test("a reply that drips in ends at the response time-out", async () => {
  const receipt = await deliver(async (peer) => {
    peer.say("220 ready");
    await peer.expect(/^EHLO/);
    await peer.drip("250-never ending\r\n");
  }, impatient);
  assertLost(receipt, LATE);
});

test("a reply that drips in ends at the message time-out when there is no other", async () => {
  const receipt = await deliver(
    async (peer) => {
      peer.say("220 ready");
      await peer.expect(/^EHLO/);
      await peer.drip("250-never ending\r\n");
    },
    { responseTimeoutMs: 0, messageTimeoutMs: 200 },
  );
  assertLost(receipt, "smtp error: message timeout after 0.2s");
});

test("a stall in the middle of a message ends at the message time-out when there is no other", async () => {
  const receipt = await deliver(stallsAfter(4), { responseTimeoutMs: 0, messageTimeoutMs: 200 });
  assertLost(receipt, "smtp error: message timeout after 0.2s", true);
});

test("the message time-out begins anew with each message on a connection", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    for (let count = 0; count < 3; count += 1) {
      await connection.message();
      await new Promise((resolve) => setTimeout(resolve, 400));
      connection.say("250 ok");
    }
    await connection.message();
    await connection.gone();
  });
  await using client = testClient({ config: { responseTimeoutMs: 0, messageTimeoutMs: 1000 } });
  for (let count = 0; count < 3; count += 1) {
    const { kind } = await client.deliver(peer.address, aMessage);
    assert.equal(kind, "accepted");
  }
  const receipt = await client.deliver(peer.address, aMessage);
  assertLost(receipt, "smtp error: message timeout after 1s", true);
});

test("a greeting that does not come is waited for no longer than the prompt time-out", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.answer("EHLO client.test", "250 peer.test");
    await connection.message();
    connection.say("250 queued");
  });
  await using client = testClient({ config: { promptTimeoutMs: 50 } });
  const receipt = await client.deliver(peer.address, aMessage);
  assert.equal(receipt.kind, "accepted");
  assert.ok(
    client.log.includes("warning: timeout: no greeting from remote server after 0.05s: continuing"),
  );
});

test("a greeting that comes late is not the answer to EHLO", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.expect("EHLO client.test");
    connection.say("220 sorry", "250-peer.test", "250 8BITMIME");
    await connection.expect("MAIL FROM:<a@b> BODY=8BITMIME");
    connection.say("550 enough");
  });
  await using client = testClient({ config: { promptTimeoutMs: 50 } });
  const receipt = await client.deliver(peer.address, { ...aMessage, body: "8bit" });
  assert.equal(receipt.kind, "refused");
  await peer.done();
});

test("a greeting that has begun is waited for like a reply", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    connection.say("220-just a moment");
    await new Promise((resolve) => setTimeout(resolve, 150));
    connection.say("220 now");
    await connection.answer("EHLO client.test", "250 peer.test");
    await connection.answer(/^MAIL/, "550 enough");
  });
  await using client = testClient({ config: { promptTimeoutMs: 50 } });
  assert.equal((await client.deliver(peer.address, aMessage)).kind, "refused");
  await peer.done();
});

test("a host that never greets and never answers ends at the response time-out", async () => {
  const receipt = await deliver(async (peer) => await peer.gone(), {
    ...impatient,
    promptTimeoutMs: 50,
  });
  assertLost(receipt, LATE);
});

test("quit() leaves a host that does not answer", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.answer(/^MAIL/, "550 no");
    await connection.expect("QUIT");
    await new Promise((resolve) => setTimeout(resolve, 1500));
  });
  await using client = testClient();
  await client.deliver(peer.address, aMessage);
  await client.transport.quit();
  assert.equal(client.transport.session, null);
});

test("quit() without linger leaves when QUIT is answered", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.answer(/^MAIL/, "550 no");
    await connection.answer("QUIT", "221 bye");
    await connection.gone();
  });
  await using client = testClient({
    config: { smtp: { ...clientDefaults.smtp, linger: false } },
  });
  await client.deliver(peer.address, aMessage);
  await client.transport.quit();
  await peer.done();
});
