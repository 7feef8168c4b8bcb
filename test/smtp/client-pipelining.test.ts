/** Several commands at a time, and the next message's together with the content of the one before (RFC 2920 3.1). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { contentOf, testClient } from "../support/client-under-test.ts";
import {
  config,
  first,
  gate,
  give,
  hasty,
  opening,
  pair,
  ready,
  rest,
  secondTakesB,
  sent,
  signal,
  takenBack,
} from "../support/pipelining.ts";
import { type PeerConnection, SmtpPeer } from "../support/smtp-peer.ts";

test("the commands of the next message come with the content of the one before", async () => {
  const { a, b, connections } = await sent(async (peer) => {
    await pair(peer);
    peer.say("250 a", "250 from", "250 to", "354 go");
    await rest(peer);
  });
  assert.equal(a?.kind === "accepted" && a.reply.text, "a");
  assert.equal(b?.kind === "accepted" && b.reply.text, "b");
  assert.equal(connections, 1);
});

test("a message that is handed over while the one before waits for its answer is begun at once", async () => {
  let waits: () => void = () => undefined;
  const waiting = new Promise<void>((resolve) => {
    waits = resolve;
  });
  await using peer = await SmtpPeer.listen(async (one) => {
    await first(one);
    await one.message();
    waits();
    await opening(one);
    one.say("250 a", "250 from", "250 to", "354 go");
    await rest(one);
  });
  await using client = testClient({ config });
  await ready(client.transport, peer);
  await give(client.transport, "one");
  const a = give(client.transport, "a");
  await waiting;
  assert.equal((await give(client.transport, "b"))?.kind, "accepted");
  assert.equal((await a)?.kind, "accepted");
});

test("content that is refused takes the message behind it along no further than RSET", async () => {
  const { a, b, connections } = await sent(async (peer) => {
    await pair(peer);
    // As a host answers that has kept the transaction of what it has refused.
    peer.say("554 no", "503 nested", "250 to", "503 no sender");
    await peer.answer("RSET", "250 reset");
    await opening(peer);
    peer.say("250 from", "250 to", "354 go");
    await rest(peer);
  });
  assert.equal(a?.kind === "refused" && a.step, "content");
  assert.equal(b?.kind, "accepted");
  assert.equal(connections, 1);
});

test("a refused recipient of the message behind is its own affair", async () => {
  const { a, b } = await sent(async (peer) => {
    await pair(peer);
    peer.say("250 a", "250 from", "550 nobody", "503 no recipients");
    await peer.answer("RSET", "250 reset");
    await peer.expect("QUIT");
  });
  assert.equal(a?.kind, "accepted");
  assert.equal(b?.kind === "refused" && b.step, "rcpt");
});

test("a host that asks for content though it has refused the only recipient gets none, not even its end", async () => {
  const { a, b } = await sent(async (peer) => {
    await pair(peer);
    peer.say("250 a", "250 from", "550 nobody", "354 go");
    await peer.gone();
    assert.equal(peer.rest, "");
  });
  assert.equal(a?.kind, "accepted");
  assert.ok(b?.kind === "refused" && b.reply.text === "nobody" && !b.ended);
});

for (const [how, say] of [
  ["in one piece", (peer: PeerConnection) => peer.say("554 no", "250 from", "250 to", "354 go")],
  [
    "one by one",
    async (peer: PeerConnection) => {
      for (const reply of ["554 no", "250 from", "250 to", "354 go"]) {
        peer.say(reply);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
  ],
] as const) {
  test(`a host that has refused content and takes the next message's MAIL goes on with that: ${how}`, async () => {
    const { a, b, connections } = await sent(async (peer) => {
      await pair(peer);
      await say(peer);
      assert.equal(await peer.content(), "Subject: b\r\n");
      peer.say("250 b");
      await peer.expect("QUIT");
    });
    assert.ok(a?.kind === "refused" && a.reply.text === "no" && !a.ended);
    assert.equal(b?.kind, "accepted");
    assert.equal(connections, 1);
  });
}

test("a host that keeps a message whose content it has refused, and asks for more, does not get the next one there", async () => {
  const { a, b, connections } = await sent(
    secondTakesB(async (peer) => {
      await pair(peer);
      peer.say("554 no", "503 nested", "250 to", "354 go");
      await peer.gone();
      assert.equal(peer.rest, "");
    }),
  );
  assert.ok(a?.kind === "refused" && a.reply.text === "no" && !a.ended);
  assert.equal(b?.kind, "accepted");
  assert.equal(connections, 2);
});

test("with several recipients DATA waits until it is known which of them are refused", async () => {
  await using peer = await SmtpPeer.listen(async (one) => {
    await first(one);
    await one.answer(/^MAIL/, "250 from");
    await one.answer("RCPT TO:<x@to.test>", "250 to");
    await one.answer("RCPT TO:<y@to.test>", "550 nobody");
    assert.equal(one.rest, "");
    await one.answer("RSET", "250 reset");
  });
  await using client = testClient({ config });
  await ready(client.transport, peer);
  await give(client.transport, "one");
  const receipt = await give(client.transport, "two", ["x", "y"]);
  assert.equal(receipt?.kind === "refused" && receipt.step, "rcpt");
});

test("a connection that is lost with the answer to the content costs the message behind nothing", async () => {
  const { a, b, connections, overlaps } = await sent(
    secondTakesB(async (peer) => {
      await pair(peer);
      peer.close();
    }),
  );
  assert.ok(a?.kind === "lost" && a.unknown);
  assert.equal(b?.kind, "accepted");
  assert.equal(connections, 2);
  // Perhaps it was the commands that it did not like.
  assert.equal(overlaps, false);
});

test("421 instead of an answer to the content costs the message behind nothing", async () => {
  const { a, b, connections } = await sent(
    secondTakesB(async (peer) => {
      await pair(peer);
      peer.say("421 going down");
      peer.close();
    }),
  );
  assert.equal(a?.kind === "lost" && a.trouble.reply?.code, 421);
  assert.equal(b?.kind, "accepted");
  assert.equal(connections, 2);
});

test("answers that come before the content has been answered are not taken for others", async () => {
  const { a, b } = await sent(async (peer, index) => {
    if (index > 0) {
      await peer.greet("PIPELINING");
      await peer.message();
      peer.say("250 b");
      return;
    }
    await pair(peer);
    // Five answers where four are due: the two sides no longer agree where they are.
    peer.say("250 a", "250 from", "250 to", "354 go", "250 b");
    await peer.gone();
    assert.doesNotMatch(peer.rest, /Subject/);
  });
  assert.equal(a?.kind, "accepted");
  assert.notEqual(b?.kind, "refused");
});

test("a message that waits behind a slow one is given back, and nothing of it is left", async () => {
  const [said, wanted] = [gate(), gate()];
  await using peer = await SmtpPeer.listen(async (one) => {
    await pair(one);
    said.open();
    await wanted.passed;
    one.say("250 a", "250 from", "250 to", "354 go");
    // Its commands were said: nothing else may come after them.
    await one.gone();
    assert.equal(one.rest, "");
  });
  await using client = testClient({ config });
  const { transport } = client;
  const { a } = await takenBack(transport, peer, said.passed);
  wanted.open();
  assert.equal((await a)?.kind, "accepted");
  await peer.done();
  assert.equal(transport.overlaps, false);
});

test("a host that takes one command at a time, whatever it announces, gets one at a time", async () => {
  await using peer = await SmtpPeer.listen(async (one, index) => {
    await one.greet("PIPELINING");
    if (index === 0) {
      await one.expect(/^MAIL/);
      // What came with it is thrown away.
      await one.expect(/^RCPT/);
      one.say("250 from");
      await one.gone();
      return;
    }
    for (const name of ["one", "two"]) {
      await one.expect(`MAIL FROM:<${name}@from.test>`);
      assert.equal(one.rest, "");
      one.say("250 from");
      await one.message();
      one.say("250 taken");
    }
  });
  await using client = testClient({ config: hasty });
  await ready(client.transport, peer);
  assert.equal((await give(client.transport, "one"))?.kind, "accepted");
  assert.equal(client.transport.overlaps, false);
  assert.equal((await give(client.transport, "two"))?.kind, "accepted");
  assert.equal(peer.connections, 2);
});

test("a host that closes when it hears two commands at a time gets one at a time", async () => {
  await using peer = await SmtpPeer.listen(async (one, index) => {
    await one.greet("PIPELINING");
    if (index === 0) {
      await one.expect(/^MAIL/);
      one.close();
      return;
    }
    await one.expect(/^MAIL/);
    assert.equal(one.rest, "");
    one.say("250 from");
    await one.message();
    one.say("250 taken");
  });
  await using client = testClient({ config });
  await ready(client.transport, peer);
  assert.equal((await give(client.transport, "one"))?.kind, "accepted");
  assert.equal(peer.connections, 2);
});

test("a host that throws away what comes behind the content gets nothing there any more", async () => {
  const { a, b, overlaps, connections } = await sent(
    secondTakesB(async (peer) => {
      await pair(peer);
      peer.say("250 a");
      await peer.gone();
    }),
    hasty,
  );
  assert.equal(a?.kind, "accepted");
  assert.equal(b?.kind, "accepted");
  assert.equal(overlaps, false);
  assert.equal(connections, 2);
});

test("large content goes alone", async () => {
  await using peer = await SmtpPeer.listen(async (one) => {
    await first(one);
    await one.message();
    assert.equal(one.rest, "");
    one.say("250 large");
    await one.message();
    one.say("250 b");
  });
  await using client = testClient({ config });
  const { transport } = client;
  await ready(transport, peer);
  await give(transport, "one");
  const envelope = { ...emptyEnvelope, from: "l@from.test", toRemote: ["l@to.test"] };
  const line = `${"x".repeat(70)}\r\n`;
  const [large, b] = await Promise.all([
    transport.send(envelope, contentOf(line.repeat(1000)), signal),
    give(transport, "b"),
  ]);
  assert.equal(large?.kind, "accepted");
  assert.equal(b?.kind, "accepted");
  await transport.quit();
  await peer.done();
});

test("a recipient that is refused stays refused when 421 answers the DATA behind it", async () => {
  const { a, b } = await sent(async (peer) => {
    await pair(peer);
    peer.say("250 a", "250 from", "550 nobody", "421 too many errors");
    await peer.gone();
  });
  assert.equal(a?.kind, "accepted");
  assert.equal(b?.kind === "refused" && b.reply.text, "nobody");
  assert.ok(b?.kind === "refused" && b.ended);
});

test("a message that is refused stays refused when the host, which has taken several commands before, falls silent", async () => {
  await using peer = await SmtpPeer.listen(async (one) => {
    await one.greet("PIPELINING");
    await one.message();
    one.say("250 taken");
    await one.answer("MAIL FROM:<two@from.test>", "550 not you");
    await one.gone();
  });
  await using client = testClient({ config: hasty });
  await ready(client.transport, peer);
  assert.equal((await give(client.transport, "one", ["x", "y"]))?.kind, "accepted");
  const receipt = await give(client.transport, "two", ["x", "y"]);
  assert.equal(receipt?.kind === "refused" && receipt.step, "mail");
  assert.equal(peer.connections, 1);
});
