/** A sync of the files that a journal is about has failed: none that follows is believed. */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import {
  closing,
  engaged,
  faulty,
  JOURNAL,
  listening,
  openOn,
  TEXT,
} from "../support/journal-bench.ts";
import { storeMessage } from "../support/messages.ts";
import { shortClock } from "../support/short-clock.ts";

/**
 * What the kernel does: a sync tells once of bytes that it could not write. They stay in memory as they are, and the
 * next sync has nothing to do.
 */
function failOnce(disk: CrashingDisk, before: () => Promise<void> = async () => undefined): void {
  let failed = false;
  const syncAll = async () => {
    if (failed) return;
    failed = true;
    await before();
    throw faulty("EIO");
  };
  Object.assign(disk.journaling, { syncAll });
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

/** What is not whole, in whatever a power cut may leave, when the next relayd has started on it. */
async function tornAfterCut(disk: CrashingDisk, ids: readonly MessageId[]): Promise<string[]> {
  const found: string[] = [];
  for (const left of disk.survivors({ device: 2 })) {
    const store = await openOn(left, { boot: "2" });
    const ready = await store.ready();
    for (const id of ids) {
      if (!ready.includes(id)) found.push(`${id} is lost`);
      const content = left.peek(`${id}.content`)?.toString();
      if (content !== TEXT) found.push(`${id} has ${content}`);
    }
  }
  return found;
}

/** A relayd whose journal has failed, in the order in which that hurts most; killed then. */
async function failed() {
  const disk = new CrashingDisk();
  const { preallocate } = disk.journaling;
  const syncing: (() => Promise<void>)[] = [];
  Object.assign(disk.journaling, {
    preallocate: async (name: string, bytes: number) => {
      const file = await preallocate(name, bytes);
      const sync = async () => {
        await syncing.shift()?.();
        await file.sync();
      };
      return { ...file, sync };
    },
  });
  const bell = new EventEmitter();
  const sleep = async (ms: number, signal: AbortSignal) => {
    await (ms === 5000 ? once(bell, "checkpoint") : shortClock.sleep(ms, signal));
  };
  const { told, journal } = listening();
  const store = await engaged(disk, {}, { journal, clock: { ...shortClock, sleep } });
  failOnce(disk, async () => void (await once(bell, "fail")));
  const stored: Promise<MessageId>[] = [];
  // The second message waits while the segment with the first is given back, and the third while that fails.
  syncing.push(async () => {
    bell.emit("checkpoint");
    stored.push(storeMessage(store, TEXT));
    await turns(5);
  });
  syncing.push(async () => {
    stored.push(storeMessage(store, TEXT));
    await turns(5);
    bell.emit("fail");
    await turns(5);
  });
  const first = await storeMessage(store, TEXT);
  const second = (await stored[0]) ?? assert.fail();
  await assert.rejects(stored[1] ?? assert.fail());
  await turns(5);
  return { disk, store, told, ids: [first, second] };
}

test("what the journal holds is not given back by a second sync, after the first has failed", async () => {
  const { disk, store, told, ids } = await failed();
  assert.deepEqual(await tornAfterCut(disk, ids), []);
  const warnings = told.filter((text) => text.includes("journal failed"));
  assert.equal(warnings.length, 1, told.join());
  assert.match(warnings[0] ?? "", /EIO/);
  ids.push(await storeMessage(store, TEXT));
  await store.close();
  assert.deepEqual(await tornAfterCut(disk, ids), []);
});

test("the next start writes anew what the journal of one that failed holds, though it looks whole", async () => {
  const { disk, ids } = await failed();
  await openOn(disk, { pid: 8 });
  assert.deepEqual(disk.list(JOURNAL), []);
  assert.deepEqual(await tornAfterCut(disk, ids), []);
});

test("after a sync has failed in a replay the messages are written anew", async () => {
  const disk = new CrashingDisk();
  const ids = [await storeMessage(await engaged(disk), TEXT)];
  failOnce(disk);
  const retry = new EventEmitter();
  const sleep = async () => void (await once(retry, "now"));
  const clock = { ...shortClock, sleep };
  await using store = await closing(openOn(disk, { pid: 8 }, { clock }));
  assert.deepEqual(await store.ready(), []);
  const changes = store.changes(new AbortController().signal)[Symbol.asyncIterator]();
  const woken = changes.next();
  retry.emit("now");
  await woken;
  assert.deepEqual(disk.list(JOURNAL), []);
  assert.ok((await store.ready()).includes(ids[0] ?? assert.fail()));
  assert.deepEqual(await tornAfterCut(disk, ids), []);
});

test("a replay that another process has begun, and did not end, is done anew", async () => {
  const disk = new CrashingDisk();
  const ids = [await storeMessage(await engaged(disk), TEXT)];
  failOnce(disk);
  await openOn(disk, { pid: 8 });
  assert.match(disk.list(JOURNAL).join(), /replay/);
  await openOn(disk, { pid: 9 });
  assert.deepEqual(disk.list(JOURNAL), []);
  assert.deepEqual(await tornAfterCut(disk, ids), []);
});

test("what is written anew keeps its state, and what somebody has changed", async () => {
  const disk = new CrashingDisk();
  const first = await engaged(disk);
  const ids: MessageId[] = [];
  for (let n = 0; n < 3; n++) ids.push(await storeMessage(first, TEXT));
  const [waiting, aside, edited] = ids as [MessageId, MessageId, MessageId];
  disk.rename(`${aside}.envelope`, `${aside}.envelope.bad`);
  disk.edit(`${edited}.content`, "in place", Buffer.from("as a filter wants it\r\n"));
  disk.edit(`${edited}.envelope`, "in place", Buffer.from("as an operator wants it\r\n"));
  const inodes = () => ids.map((id) => disk.stat(`${id}.content`)?.inode);
  const before = inodes();
  failOnce(disk);
  await openOn(disk, { pid: 8 });
  await openOn(disk, { pid: 9 });
  const after = inodes();
  assert.notEqual(after[0], before[0]);
  assert.notEqual(after[1], before[1]);
  assert.equal(after[2], before[2]);
  const names = disk.list().filter((name) => ids.some((id) => name.startsWith(`${id}.`)));
  const expected = [waiting, aside, edited].flatMap((id) => [
    `${id}.content`,
    id === aside ? `${id}.envelope.bad` : `${id}.envelope`,
  ]);
  assert.deepEqual([...names].sort(), expected.sort());
  assert.equal(disk.peek(`${edited}.content`)?.toString(), "as a filter wants it\r\n");
  assert.equal(disk.peek(`${edited}.envelope`)?.toString(), "as an operator wants it\r\n");
});
