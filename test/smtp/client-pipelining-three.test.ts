/** Two messages at hand behind the one that is on its way (RFC 2920 3.1). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testClient } from "../support/client-under-test.ts";
import {
  again,
  config,
  gate,
  give,
  opening,
  pair,
  ready,
  takenBack,
} from "../support/pipelining.ts";
import { type PeerScript, SmtpPeer } from "../support/smtp-peer.ts";

/** What becomes of "a", "b" and "c", when the others are handed over while "a" is on its way. */
async function sentThree(script: PeerScript) {
  await using peer = await SmtpPeer.listen(script);
  await using client = testClient({ config });
  const { transport } = client;
  await ready(transport, peer);
  await give(transport, "one");
  const receipts = ["a", "b", "c"].map(async (name) => await give(transport, name));
  const [a, b, c] = await Promise.all(receipts);
  await transport.quit();
  await peer.done();
  return { a, b, c, connections: peer.connections };
}

test("what is handed over behind two others is said with the content of the second, and not before", async () => {
  const { a, b, c, connections } = await sentThree(async (peer) => {
    await pair(peer);
    assert.equal(peer.rest, "");
    peer.say("250 a", "250 from", "250 to", "354 go");
    assert.equal(await peer.content(), "Subject: b\r\n");
    await peer.expect("MAIL FROM:<c@from.test>");
    await peer.expect("RCPT TO:<c@to.test>");
    await peer.expect("DATA");
    peer.say("250 b", "250 from", "250 to", "354 go");
    assert.equal(await peer.content(), "Subject: c\r\n");
    peer.say("250 c");
  });
  for (const [name, one] of Object.entries({ a, b, c })) {
    assert.equal(one?.kind === "accepted" && one.reply.text, name);
  }
  assert.equal(connections, 1);
});

test("with two behind it, content that is refused keeps DATA of neither the second nor the third from their turn", async () => {
  const { a, b, c, connections } = await sentThree(async (peer) => {
    await pair(peer);
    peer.say("554 no", "503 nested", "250 to", "503 no sender");
    await peer.answer("RSET", "250 reset");
    await opening(peer);
    peer.say("250 from", "250 to", "354 go");
    assert.equal(await peer.content(), "Subject: b\r\n");
    await peer.expect("MAIL FROM:<c@from.test>");
    await peer.expect("RCPT TO:<c@to.test>");
    // What was refused lately is known by now: DATA waits for the recipient's answer.
    assert.equal(peer.rest, "");
    peer.say("250 b", "250 from", "550 nobody");
    await peer.answer("RSET", "250 reset");
  });
  assert.equal(a?.kind === "refused" && a.step, "content");
  assert.equal(b?.kind, "accepted");
  assert.equal(c?.kind === "refused" && c.step, "rcpt");
  assert.equal(connections, 1);
});

for (const [name, after] of [
  ["another", "c"],
  ["the same", "b"],
] as const) {
  test(`what a withdrawn message has said behind refused content is not ${name} message's when that comes`, async () => {
    const [refused, handed] = [gate(), gate()];
    await using peer = await SmtpPeer.listen(async (one, index) => {
      if (index > 0) {
        await one.greet("PIPELINING");
        await one.message();
        return one.say("250 there");
      }
      await pair(one);
      one.say("554 no");
      await new Promise((resolve) => setTimeout(resolve, 20));
      refused.open();
      await handed.passed;
      for (const reply of ["250 from", "250 to", "354 go"]) {
        one.say(reply);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      await one.gone();
      assert.equal(one.rest, "");
    });
    await using client = testClient({ config });
    const { transport } = client;
    const { a } = await takenBack(transport, peer, refused.passed);
    const next = give(transport, after);
    await new Promise((resolve) => setTimeout(resolve, 20));
    handed.open();
    assert.equal((await a)?.kind, "refused");
    const receipt = await next;
    assert.equal(receipt?.kind === "accepted" && receipt.reply.text, "there");
    await peer.done();
  });
}

test("a connection that is lost with two behind costs neither of them anything", async () => {
  const { a, b, c, connections } = await sentThree(async (peer, index) => {
    if (index === 0) {
      await pair(peer);
      return peer.close();
    }
    await peer.greet("PIPELINING");
    await again(peer);
    await peer.message();
    peer.say("250 c");
  });
  assert.ok(a?.kind === "lost" && a.unknown);
  assert.equal(b?.kind, "accepted");
  assert.equal(c?.kind, "accepted");
  assert.equal(connections, 2);
});

test("a host that has not taken commands with the content before does not get those of the third so", async () => {
  const { a, b, c, connections } = await sentThree(async (peer, index) => {
    if (index === 0) {
      await pair(peer);
      peer.say("250 a");
      return peer.close();
    }
    await peer.greet("PIPELINING");
    await peer.answer("MAIL FROM:<b@from.test>", "250 from");
    await peer.answer("RCPT TO:<b@to.test>", "250 to");
    await peer.answer("DATA", "354 go");
    assert.equal(await peer.content(), "Subject: b\r\n");
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(peer.rest, "");
    peer.say("250 b");
    await peer.message();
    peer.say("250 c");
  });
  assert.equal(a?.kind, "accepted");
  assert.equal(b?.kind, "accepted");
  assert.equal(c?.kind, "accepted");
  assert.equal(connections, 2);
});
