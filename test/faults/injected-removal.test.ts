import assert from "node:assert/strict";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { cannotTrace, ERRORS, pathsOf, replyTo, whileFailing } from "../support/injected.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { sendMail, TestRelay, until } from "../support/relayd.ts";

/** Messages that are given up while their files cannot be removed. */
const skip = await cannotTrace();

/** Sends half of a large message and vanishes; resolves when relayd has noticed. */
async function breakOff(relay: TestRelay): Promise<void> {
  const before = relay.log.length;
  const files = relay.files().length;
  const client = await RawClient.connect(`127.0.0.1:${relay.port}`);
  await client.reply();
  for (const line of ["EHLO x", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"]) {
    await client.ask(line);
  }
  client.send(`Subject: broken\r\n\r\n${`${"x".repeat(70)}\r\n`.repeat(8000)}`);
  await until(() => relay.files().length > files);
  client.destroy();
  await until(() => relay.log.slice(before).includes("connection closed"));
}

test("unlink of .content fails when the client has gone: no message, and it goes later", {
  skip,
}, async () => {
  const relay = await TestRelay.start([]);
  for (const [n, error] of ERRORS.entries()) {
    const before = relay.files();
    const paths = pathsOf(relay, 2 * n + 1, [".content"]);
    const { struck } = await whileFailing(
      relay.child.pid ?? 0,
      { calls: ["remove"], error, paths },
      async () => await breakOff(relay),
    );
    assert.ok(struck > 0, `${error} has not struck`);
    assert.equal(relay.files().length, before.length + 1, error);
    assert.match(await sendMail(relay.port), /^250 /, error);
    const fresh = relay.files().filter((name) => !before.includes(name));
    assert.equal(fresh.length, 2, error);
    for (const name of fresh) assert.ok(name.includes(`.${2 * n + 2}.`), name);
  }
  assert.equal(await relay.end(), 0);
});

for (const ending of [".content", ".envelope.new"]) {
  test(`sync and unlink of ${ending} fail: a temporary reply, and it goes later`, {
    skip,
  }, async () => {
    const relay = await TestRelay.start([]);
    for (const [n, error] of ERRORS.entries()) {
      const before = relay.files();
      const paths = pathsOf(relay, 2 * n + 1, [ending]);
      const fault = { calls: ["sync", "remove"] as const, error, paths };
      const { result, struck } = await whileFailing(
        relay.child.pid ?? 0,
        fault,
        async () => await sendMail(relay.port),
      );
      assert.equal(struck, 2, `${error} has not struck`);
      assert.match(result, replyTo(error));
      assert.match(await sendMail(relay.port), /^250 /, error);
      const fresh = relay.files().filter((name) => !before.includes(name));
      assert.equal(fresh.length, 2, error);
      for (const name of fresh) assert.ok(name.includes(`.${2 * n + 2}.`), name);
    }
  });
}

test("the commit fails when its names are there, and they cannot be removed: whole, but never sent", {
  skip,
}, async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  for (const [n, error] of ERRORS.entries()) {
    const paths = [relay.spool, ...pathsOf(relay, 2 * n + 1, [".envelope"])];
    const fault = { calls: ["sync", "remove"] as const, error, paths };
    const { result, struck } = await whileFailing(relay.child.pid ?? 0, fault, async () => {
      const reply = await sendMail(relay.port, { content: "Subject: refused\r\n\r\nx" });
      // Another process must not find an envelope without content.
      assert.equal(relay.files().length, 2, error);
      const runs = relay.log.split("no messages to send").length;
      relay.child.kill("SIGUSR1");
      await until(() => relay.log.split("no messages to send").length > runs);
      return reply;
    });
    assert.ok(struck > 1, `${error} has not struck`);
    assert.match(result, replyTo(error));
    assert.match(await sendMail(relay.port), /^250 /, error);
    assert.equal(relay.files().length, 2, error);
    relay.child.kill("SIGUSR1");
    await smarthost.caught(n + 1);
    await until(() => relay.files().length === 0);
  }
  for (const { content } of smarthost.messages) assert.doesNotMatch(content, /refused/);
  assert.equal(await relay.end(), 0);
});
