import assert from "node:assert/strict";
import { test } from "node:test";
import { failure, OK } from "../../src/filters/item.ts";
import { networkFilter } from "../../src/filters/network.ts";
import { filterMessage, termsWithin } from "../support/filter-message.ts";
import { deadAddress, LinePeer } from "../support/line-peer.ts";

const never = new AbortController().signal;

/** What the filter makes of this answer. */
async function resultOf(answer: string) {
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.say(answer);
    await connection.gone();
  });
  await using filter = networkFilter(peer.address, termsWithin());
  using message = filterMessage();
  return await filter.run(message.job, never);
}

test("networkFilter() sends the path of the content and lets pass what is ok", async () => {
  using message = filterMessage();
  await using peer = await LinePeer.listen(async (connection) => {
    assert.equal(await connection.line(), message.job.files.content);
    connection.say("ok\n");
  });
  await using filter = networkFilter(peer.address, termsWithin());
  assert.deepEqual(await filter.run(message.job, never), OK);
  await peer.done();
});

test("networkFilter() takes for ok what starts with ok, and an empty line", async () => {
  assert.deepEqual(await resultOf("ok\r\n"), OK);
  assert.deepEqual(await resultOf("okay, scanned\n"), OK);
  assert.deepEqual(await resultOf("\n"), OK);
  assert.deepEqual(await resultOf("\r\n"), OK);
});

test("networkFilter() refuses with any other response", async () => {
  assert.deepEqual(await resultOf("virus found\n"), failure("virus found"));
  assert.deepEqual(await resultOf("not ok\r\n"), failure("not ok"));
});

test("networkFilter() takes an SMTP code off the response, and a reason after a tab", async () => {
  assert.deepEqual(await resultOf("550 virus\n"), failure("virus", "virus", 550));
  assert.deepEqual(
    await resultOf("451 try later\tdatabase is locked\r\n"),
    failure("try later", "database is locked", 451),
  );
  assert.deepEqual(await resultOf("no\twhy\n"), failure("no", "why"));
  assert.deepEqual(await resultOf("250 fine\n"), failure("250 fine"));
  assert.deepEqual(await resultOf("5501 x\n"), failure("5501 x"));
  assert.deepEqual(await resultOf("\tonly a reason\n"), failure("rejected", "only a reason"));
});

test("networkFilter() lets no control character into a response or a reason", async () => {
  assert.deepEqual(
    await resultOf("550 a\rb\u001b[2J\tc\rX-MailRelay-From: x\n"),
    failure("a b [2J", "c X-MailRelay-From: x", 550),
  );
});

test("networkFilter() makes a response fit into an SMTP reply", async () => {
  const { response, code } = await resultOf(`554 ${"x".repeat(5000)}\n`);
  assert.deepEqual([code, response], [554, "x".repeat(496)]);
});

test("networkFilter() keeps its connection for the next message", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    for (;;) {
      await connection.line();
      connection.say("ok\n");
    }
  });
  await using filter = networkFilter(peer.address, termsWithin());
  using one = filterMessage();
  using two = filterMessage();
  assert.deepEqual(await filter.run(one.job, never), OK);
  assert.deepEqual(await filter.run(two.job, never), OK);
  assert.equal(peer.connections, 1);
});

test("networkFilter() closes its connection when it is disposed of", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.say("ok\n");
    await connection.gone();
  });
  using message = filterMessage();
  {
    await using filter = networkFilter(peer.address, termsWithin());
    await filter.run(message.job, never);
  }
  await peer.done();
});

test("networkFilter() fails with E-MailRelay's words when nobody answers", async () => {
  using message = filterMessage();
  const dead = await deadAddress();
  await using nobody = networkFilter(dead, termsWithin());
  assert.deepEqual(
    await nobody.run(message.job, never),
    failure("failed", `connect failure: cannot connect to ${dead}`),
  );

  await using leaving = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.end("o");
  });
  await using left = networkFilter(leaving.address, termsWithin());
  assert.deepEqual(await left.run(message.job, never), failure("failed", "peer disconnected"));

  await using hanging = await LinePeer.listen(async (connection) => await connection.gone());
  await using waiting = networkFilter(hanging.address, termsWithin(100));
  assert.deepEqual(
    await waiting.run(message.job, never),
    failure(
      "failed",
      `response timeout: no response after 0.1s while connected to ${hanging.address}`,
    ),
  );
});

test("networkFilter() is named by its address and refuses what is none", () => {
  assert.equal(networkFilter("127.0.0.1:10024", termsWithin()).id, "127.0.0.1/10024/ip");
  assert.equal(networkFilter("/run/scan.sock", termsWithin()).id, "/run/scan.sock");
  assert.throws(() => networkFilter("nowhere", termsWithin()), { code: "CONFIG_INVALID" });
  assert.throws(() => networkFilter("", termsWithin()), { code: "CONFIG_INVALID" });
});
