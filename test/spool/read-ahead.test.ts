/** Which messages are brought into memory before they are taken, and when. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMessageId } from "../../src/core/message-id.ts";
import type { Disk } from "../../src/io/disk.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { ReadAhead } from "../../src/spool/read-ahead.ts";
import { anEnvelope } from "../support/messages.ts";
import { tempSpool } from "../support/temp-spool.ts";

const id = (n: number) =>
  parseMessageId(`emailrelay.1.1.${String(n).padStart(4, "0")}`) ?? assert.fail();
const namesOf = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, n) => id(first + n)).flatMap((one) => [
    `${one}.envelope`,
    `${one}.content`,
  ]);

/** A disk from which so many blocks come for each message that is taken. */
function slowDisk(blocksEach: { now: number }, over: Disk) {
  const brought: string[] = [];
  let blocks = 1_000_000;
  const disk: Disk = {
    ...over,
    reading: {
      blocksRead: () => blocks,
      prefetch: (names) => brought.push(...names),
    },
  };
  return { disk, brought, read: () => (blocks += blocksEach.now) };
}

function subject(messages: number) {
  const each = { now: 0 };
  const { disk, brought, read } = slowDisk(each, nodeDisk("/nowhere"));
  const ahead = new ReadAhead(disk);
  ahead.announce(Array.from({ length: messages }, (_, n) => id(n)));
  let next = 0;
  const take = (count: number) => {
    for (const end = next + count; next < end; next++) {
      read();
      ahead.taken(id(next));
    }
  };
  return { ahead, each, brought, take };
}

test("nothing is brought in while nothing comes from the disk", () => {
  const { each, brought, take } = subject(200);
  take(64);
  each.now = 1;
  take(64);
  assert.deepEqual(brought, []);
});

test("the next messages are brought in once each while messages come from the disk", () => {
  const { each, brought, take } = subject(100);
  each.now = 8;
  take(16);
  assert.deepEqual(brought, []);
  take(1);
  assert.deepEqual(brought, namesOf(17, 48));
  take(16);
  assert.deepEqual(brought, namesOf(17, 64));
  take(67);
  assert.deepEqual(brought, namesOf(17, 99), "to the end, and no further");
  assert.equal(brought.length, new Set(brought).size);
});

test("it ends when nothing comes from the disk any more, and begins again", () => {
  const { each, brought, take } = subject(300);
  each.now = 8;
  take(17);
  each.now = 0;
  brought.length = 0;
  take(64);
  assert.deepEqual(brought, []);
  each.now = 8;
  take(16);
  assert.deepEqual(brought, namesOf(97, 128));
});

test("only what was announced last is brought in, from where it was taken", () => {
  const { ahead, each, brought, take } = subject(100);
  each.now = 8;
  take(17);
  brought.length = 0;
  ahead.announce([id(3), id(32), id(5), id(90)]);
  take(16);
  assert.deepEqual(brought, [...namesOf(5, 5), ...namesOf(90, 90)]);
  ahead.announce([]);
  take(16);
  assert.equal(brought.length, 4);
});

test("a store brings in what it will lease next, in its order", async () => {
  await using spool = await tempSpool();
  for (let n = 0; n < 60; n++) {
    spool.put(`${id(n)}.envelope`, encodeEnvelope(anEnvelope, "envelope"));
  }
  const { disk, brought, read } = slowDisk({ now: 8 }, nodeDisk(spool.directory));
  const counting: Disk = {
    ...disk,
    open: (name) => {
      read();
      return disk.open(name);
    },
  };
  const store = await spool.open({ disk: counting });
  const ready = await store.ready();
  store.announce(ready);
  for (const one of ready.slice(0, 17)) assert.ok(await store.lease(one));
  assert.deepEqual(brought, namesOf(17, 48));
});
