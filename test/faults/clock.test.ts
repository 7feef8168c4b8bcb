import assert from "node:assert/strict";
import { test } from "node:test";
import { type Catcher, openCatcher } from "../support/catcher.ts";
import { cannotFakeTime, FakedClock } from "../support/faked-clock.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { sendMail, type TestRelay, until } from "../support/relayd.ts";

const skip = cannotFakeTime();

async function send(relay: TestRelay, subject: string | number): Promise<void> {
  const content = `Subject: ${subject}\r\n\r\nx`;
  assert.match(await sendMail(relay.port, { content }), /^250 /);
}

function subjects({ messages }: Catcher): (string | undefined)[] {
  return messages.map(({ content }) => /Subject: (\S+)/.exec(content)?.[1]);
}

test("the clock jumps an hour both ways: timers, names and order stay", { skip }, async () => {
  const clock = new FakedClock();
  const smarthost = await openCatcher();
  // A second connection, which a slow smarthost gets, may overtake the first one.
  const relay = await clock.start([`--forward-to=${smarthost.address}`, "--forward-parallel=1"]);
  await using idle = await RawClient.connect(`127.0.0.1:${relay.port}`);
  await idle.reply();
  const order = ["+0s", "+3600s", "-3600s", "+0s", "+3600s"];
  for (const [n, offset] of order.entries()) {
    clock.jump(offset);
    await send(relay, n);
  }
  const seconds = relay.files().map((name) => Number(name.split(".")[2]));
  const real = Date.now() / 1000;
  assert.ok(Math.max(...seconds) > real + 3000, "the clock has not jumped");
  // What was in the past when the clock went back is named after the last second that was.
  assert.equal(new Set(relay.files()).size, 10);
  clock.jump("-3600s");
  relay.child.kill("SIGUSR1");
  await smarthost.caught(5);
  assert.deepEqual(subjects(smarthost), ["0", "1", "2", "3", "4"]);
  await until(() => relay.files().length === 0);
  // An hour has not passed for those who wait.
  assert.match(await idle.ask("NOOP"), /^250 /);
  assert.doesNotMatch(relay.log, /timed out|lost|put back/);
});

test("the clock jumps back: whoever is silent is still told to go", { skip }, async () => {
  const clock = new FakedClock();
  const relay = await clock.start(["--idle-timeout=1"]);
  await using idle = await RawClient.connect(`127.0.0.1:${relay.port}`);
  await idle.reply();
  clock.jump("-3600s");
  await idle.rest();
  await relay.logged(/idle|timed out|timeout/);
});

test("the clock jumps back: polls go on", { skip }, async () => {
  const clock = new FakedClock();
  const smarthost = await openCatcher();
  const relay = await clock.start([`--forward-to=${smarthost.address}`, "--poll=1"]);
  clock.jump("-3600s");
  await send(relay, "polled");
  await smarthost.caught(1);
  clock.jump("+3600s");
  await send(relay, "again");
  await smarthost.caught(2);
});

/** A smarthost that has no time for the message "later", as often as told. */
async function busyFor(times: number): Promise<Catcher & { readonly asked: readonly string[] }> {
  const asked: string[] = [];
  const smarthost = await openCatcher({
    dot: ({ content }) => {
      if (!content.includes("Subject: later")) return undefined;
      asked.push(content);
      return asked.length <= times ? "451 4.2.1 later" : undefined;
    },
  });
  return { ...smarthost, asked };
}

test("the clock jumps on: what waits for its next attempt waits on, and others go", {
  skip,
}, async () => {
  const clock = new FakedClock();
  const smarthost = await busyFor(1);
  const relay = await clock.start([
    ...[`--forward-to=${smarthost.address}`, "--retry=30m", "--forward-on-disconnect"],
  ]);
  await send(relay, "later");
  await relay.logged("deferred");
  clock.jump("+3600s");
  for (const [n, subject] of ["one", "two", "three"].entries()) {
    await send(relay, subject);
    await smarthost.caught(n + 1);
  }
  assert.deepEqual(subjects(smarthost), ["one", "two", "three"]);
  assert.equal(smarthost.asked.length, 1);
});

test("the clock jumps back: what waits is tried when its time has come, not an hour later", {
  skip,
}, async () => {
  const clock = new FakedClock();
  const smarthost = await busyFor(2);
  const relay = await clock.start([
    ...[`--forward-to=${smarthost.address}`, "--retry=1s", "--forward-on-disconnect"],
  ]);
  await send(relay, "later");
  await relay.logged("deferred");
  clock.jump("-3600s");
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
  assert.equal(smarthost.asked.length, 3);
});

test("the clock jumps back before a restart: what waits does not wait an hour more", {
  skip,
}, async () => {
  const clock = new FakedClock();
  const smarthost = await busyFor(1);
  const options = [`--forward-to=${smarthost.address}`, "--retry=1s", "--forward-on-disconnect"];
  const relay = await clock.start(options);
  await send(relay, "later");
  await relay.logged("deferred");
  assert.equal(await relay.end(), 0);
  clock.jump("-3600s");
  await clock.start(options, relay.spool);
  await smarthost.caught(1);
  assert.equal(smarthost.asked.length, 2);
});
