/** Ids where several stores of one process id are on a spool. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { FileStore } from "../../src/spool/file-store.ts";
import { storeMessage } from "../support/messages.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

/** Every message comes in the same second. */
const clock = { ...systemClock, now: () => 1_795_226_071_000 };
const numberOf = (id: MessageId): number => Number(id.split(".").at(-1));

async function passOn(store: FileStore): Promise<MessageId> {
  const id = await storeMessage(store, "x");
  const lease = await store.lease(id);
  await lease?.complete();
  return id;
}

function putHolder(spool: TempSpool, name: string): void {
  const folder = join(spool.directory, ".relayd", "holders");
  mkdirSync(folder, { recursive: true });
  const record = { host: "another", boot: "another", namespace: "pid:[1]", since: clock.now() };
  writeFileSync(join(folder, name), JSON.stringify(record));
}

test("the ids of a store that is alone count from 1", async () => {
  await using spool = await tempSpool();
  const store = await spool.open({ clock });
  assert.deepEqual([await passOn(store), await passOn(store)].map(numberOf), [1, 2]);
});

test("two stores of one process never make the same id, though the message of the first is gone", async () => {
  await using spool = await tempSpool();
  const [first, second] = [await spool.open({ clock }), await spool.open({ clock })];
  const [ours, theirs] = [await passOn(first), await passOn(second)];
  assert.notEqual(ours, theirs);
  assert.ok(Math.abs(numberOf(ours) - numberOf(theirs)) > 1e8);
});

test("ids are far from those of a process in another container that has the same process id", async () => {
  await using spool = await tempSpool();
  putHolder(spool, `${process.pid}.7`);
  const store = await spool.open({ clock });
  const ids = [await passOn(store), await passOn(store)];
  const [first = 0, second = 0] = ids.map(numberOf);
  assert.ok(first > 1e8);
  assert.equal(second, first + 1);
  assert.deepEqual(ids.toSorted(), ids);
});

test("a holder with another process id changes nothing", async () => {
  await using spool = await tempSpool();
  putHolder(spool, `${process.pid + 1}.7`);
  const store = await spool.open({ clock });
  assert.equal(numberOf(await passOn(store)), 1);
});
