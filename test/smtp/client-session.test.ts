/** How long a session with the smarthost lasts: kept for the next message, replaced when it has ended, given up when aborted. */
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { aMessage, contentOf, testClient } from "../support/client-under-test.ts";
import { SmtpPeer, takesOne } from "../support/smtp-peer.ts";

const quiet = new AbortController().signal;
const envelope = { ...emptyEnvelope, ...aMessage };

test("abort in the middle of a message destroys the connection and rejects", async () => {
  const stop = new AbortController();
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.expect(/^MAIL/);
    stop.abort(new Error("enough"));
    await connection.gone();
  });
  await using client = testClient();
  await client.transport.prepare({ address: peer.address, account: "" }, stop.signal);
  await assert.rejects(client.transport.send(envelope, contentOf("x"), stop.signal), /enough/);
  await peer.done();
});

test("a connection listens once to the signal of many messages, and no longer than it lasts", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    for (let count = 0; count < 3; count += 1) {
      await connection.message();
      connection.say("250 ok");
    }
    await connection.answer("QUIT", "221 bye");
  });
  await using client = testClient();
  const { signal } = new AbortController();
  const listeners = () => getEventListeners(signal, "abort").length;
  assert.equal(
    await client.transport.prepare({ address: peer.address, account: "" }, signal),
    null,
  );
  for (let count = 0; count < 3; count += 1) {
    const receipt = await client.transport.send(envelope, contentOf("x\r\n"), signal);
    assert.equal(receipt?.kind, "accepted");
    assert.equal(listeners(), 1);
  }
  await client.transport.quit();
  assert.equal(listeners(), 0);
});

test("abort while connecting rejects", async () => {
  const stop = new AbortController();
  await using peer = await SmtpPeer.listen(async (connection) => {
    stop.abort(new Error("enough"));
    await connection.gone();
  });
  await using client = testClient();
  const smarthost = { address: peer.address, account: "" };
  await assert.rejects(client.transport.prepare(smarthost, stop.signal), /enough/);
  await assert.rejects(client.transport.prepare(smarthost, stop.signal), /enough/);
  await peer.done();
});

test("prepare() keeps the session of the same smarthost", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await takesOne(connection);
    await connection.message();
    connection.say("250 ok");
    await connection.gone();
  });
  await using client = testClient();
  assert.equal((await client.deliver(peer.address, aMessage)).kind, "accepted");
  assert.equal((await client.deliver(peer.address, aMessage)).kind, "accepted");
  assert.equal(peer.connections, 1);
});

test("prepare() says QUIT to the smarthost of another account", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.answer("QUIT", "221 bye");
  });
  await using client = testClient();
  const smarthost = { address: peer.address, account: "" };
  assert.equal(await client.transport.prepare(smarthost, quiet), null);
  assert.equal(await client.transport.prepare({ ...smarthost, account: "x" }, quiet), null);
  assert.equal(peer.connections, 2);
  await client.transport.quit();
  await peer.done();
});

test("a session that was closed while idle is quietly replaced", async () => {
  await using peer = await SmtpPeer.listen(async (connection, index) => {
    await takesOne(connection);
    if (index > 0) return;
    connection.say("421 idle");
    connection.close();
    await connection.gone();
  });
  await using client = testClient();
  assert.equal((await client.deliver(peer.address, aMessage)).kind, "accepted");
  assert.equal((await client.deliver(peer.address, aMessage)).kind, "accepted");
  assert.equal(peer.connections, 2);
});

test("a session that ends just when MAIL is said again is quietly replaced", async () => {
  await using peer = await SmtpPeer.listen(async (connection, index) => {
    await takesOne(connection);
    if (index === 0) await connection.answer(/^MAIL/, "421 idle too long");
    if (index === 1) {
      await connection.expect(/^MAIL/);
      connection.reset();
    }
    await connection.gone();
  });
  await using client = testClient();
  for (let count = 0; count < 3; count += 1) {
    assert.equal((await client.deliver(peer.address, aMessage)).kind, "accepted");
  }
  assert.equal(peer.connections, 3);
});

test("the first MAIL of a session is not said twice", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.answer(/^MAIL/, "421 not now");
    await connection.gone();
  });
  await using client = testClient();
  const receipt = await client.deliver(peer.address, aMessage);
  assert.equal(receipt.kind === "lost" && receipt.trouble.reply?.code, 421);
  assert.equal(peer.connections, 1);
});

test("send() without a session is a lost message", async () => {
  await using client = testClient();
  const receipt = await client.transport.send(envelope, contentOf("x"), quiet);
  assert.equal(receipt?.kind, "lost");
});
