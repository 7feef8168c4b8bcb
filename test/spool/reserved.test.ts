/** Messages that are locked from the start, and what becomes of those that nobody takes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type MessageId, parseMessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import { SpoolPlace } from "../../src/spool/place.ts";
import { Reserved } from "../../src/spool/reserved.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import { disks } from "../support/journal-bench.ts";
import { anEnvelope } from "../support/messages.ts";

const id = (n: number) => parseMessageId(`emailrelay.1.1.${n}`) ?? assert.fail();
const known = (bytes: number, said: typeof anEnvelope | null = anEnvelope) => ({
  content: Buffer.alloc(bytes),
  contentBytes: bytes,
  envelope: Buffer.alloc(0),
  said,
});

/** With a clock that stands still but for `pass`. */
function subject() {
  const disk = new CrashingDisk();
  const at = { inode: 1 };
  const place = new SpoolPlace({
    ...disks(disk),
    stat: () => ({ ...(disk.stat(".") ?? assert.fail()), device: 1, inode: at.inode }),
  });
  const lost: [MessageId, string | null][] = [];
  const time = { ms: 5000, sleepers: [] as { until: number; wake: () => void }[] };
  const clock = {
    ...systemClock,
    monotonic: () => time.ms,
    sleep: async (ms: number) =>
      await new Promise<void>((wake) => time.sleepers.push({ until: time.ms + ms, wake })),
  };
  const reserved = new Reserved({ disk, place, clock, onLost: (...one) => lost.push(one) });
  const add = (n: number, bytes = 1) => {
    const added = reserved.add(id(n), known(bytes));
    if (added) disk.create(`${id(n)}.envelope.busy`).close();
    return added;
  };
  const pass = async (ms: number) => {
    time.ms += ms;
    const due = time.sleepers.filter(({ until }) => until <= time.ms);
    time.sleepers = time.sleepers.filter(({ until }) => until > time.ms);
    for (const { wake } of due) wake();
    await new Promise(setImmediate);
  };
  return { disk, at, place, reserved, lost, add, pass };
}

test("nothing is reserved before a forwarder takes messages, nor a quarter of a second after the last", async () => {
  const { reserved, add, pass } = subject();
  assert.equal(reserved.isUsed, false);
  assert.equal(add(1), false);
  reserved.active();
  assert.equal(reserved.isUsed, true);
  assert.equal(add(2), true);
  await pass(250);
  assert.equal(add(3), true);
  await pass(1);
  assert.equal(reserved.isOpen, false);
  assert.equal(add(4), false);
  assert.deepEqual([...reserved.ids()], [id(2), id(3)]);
});

test("what is reserved is taken once, with what its files hold", () => {
  const { reserved, add } = subject();
  reserved.active();
  add(1, 7);
  assert.equal(reserved.has(id(1)), true);
  assert.equal(reserved.take(id(1))?.content?.length, 7);
  assert.equal(reserved.take(id(1)), null);
  assert.equal(reserved.has(id(1)), false);
});

test("64 messages and 2 MB are reserved at most, and none whose envelope must be read", () => {
  const { reserved, add } = subject();
  reserved.active();
  for (let n = 1; n <= 64; n++) assert.equal(add(n), true);
  assert.equal(add(65), false);
  for (let n = 1; n <= 64; n++) reserved.take(id(n));
  for (let n = 101; n <= 108; n++) assert.equal(add(n, 256 * 1024), true);
  assert.equal(add(109), false);
  reserved.take(id(101));
  assert.equal(reserved.add(id(110), known(1, null)), false);
  assert.equal(add(111), true);
});

test("what nobody takes within a second is given the name that everybody may take", async () => {
  const { disk, reserved, lost, add, pass } = subject();
  reserved.active();
  add(1);
  await pass(200);
  add(2);
  await pass(799);
  assert.deepEqual(disk.list(), [`${id(1)}.envelope.busy`, `${id(2)}.envelope.busy`]);
  await pass(1);
  assert.deepEqual([...disk.list()].sort(), [`${id(1)}.envelope`, `${id(2)}.envelope.busy`]);
  await pass(200);
  assert.deepEqual([...disk.list()].sort(), [`${id(1)}.envelope`, `${id(2)}.envelope`]);
  assert.deepEqual([...reserved.ids()], []);
  assert.deepEqual(lost, []);
});

test("what has been moved by somebody else is told of, with the directory that it was in", async () => {
  const { disk, at, place, reserved, lost, add, pass } = subject();
  reserved.active();
  add(1);
  disk.remove(`${id(1)}.envelope.busy`);
  at.inode = 2;
  place.look();
  await pass(1000);
  assert.deepEqual(lost, [[id(1), "1 1"]]);
});

test("at the end everything is anybody's, and nothing more is reserved", () => {
  const { disk, reserved, add } = subject();
  reserved.active();
  add(1);
  reserved.close();
  assert.deepEqual(disk.list(), [`${id(1)}.envelope`]);
  assert.equal(add(2), false);
});
