/** The index of what waits stays cheap with many messages and follows what others do. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { silentJournal } from "../../src/core/events.ts";
import { type MessageId, newMessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { openFileStore } from "../../src/spool/file-store.ts";
import { SpoolPlace } from "../../src/spool/place.ts";
import { Queue } from "../../src/spool/queue.ts";
import { ReadyIndex } from "../../src/spool/ready-index.ts";
import { storeMessage } from "../support/messages.ts";
import { property } from "../support/property.ts";
import { tempSpool } from "../support/temp-spool.ts";

test("ReadyIndex keeps byte order through additions, removals and replacement", () => {
  const index = new ReadyIndex();
  const ids = ["b", "a", "emailrelay.1.1.10", "emailrelay.1.1.9", "Z"] as MessageId[];
  for (const id of ids) index.add(id);
  assert.equal(index.add("a" as MessageId), false);
  assert.deepEqual(index.snapshot(), ["Z", "a", "b", "emailrelay.1.1.10", "emailrelay.1.1.9"]);
  index.delete("b" as MessageId);
  index.delete("none" as MessageId);
  assert.deepEqual(index.snapshot(), ["Z", "a", "emailrelay.1.1.10", "emailrelay.1.1.9"]);
  assert.equal(index.replace(["c", "a"] as MessageId[]), true);
  assert.equal(index.replace(["a"] as MessageId[]), false);
  assert.deepEqual(index.snapshot(), ["a"]);
});

{
  const id = fc
    .integer({ min: 0, max: 40 })
    .map((n) => `m${String(n).padStart(3, "0")}` as MessageId);
  const step = fc.oneof(
    fc.record({ what: fc.constantFrom("add" as const, "delete" as const), id }),
    fc.record({ what: fc.constantFrom("deleteFirst" as const, "snapshot" as const) }),
    fc.record({ what: fc.constant("replace" as const), ids: fc.uniqueArray(id) }),
  );
  property(
    "ReadyIndex is as a sorted set, and what it gave away never changes",
    fc.array(step, { maxLength: 200 }),
    (steps) => {
      const index = new ReadyIndex();
      let model = new Set<MessageId>();
      const given: (readonly [readonly MessageId[], readonly MessageId[]])[] = [];
      for (const one of steps) {
        const first = [...model].sort()[0];
        if (one.what === "add") {
          assert.equal(index.add(one.id), !model.has(one.id));
          model.add(one.id);
        } else if (one.what === "replace") {
          index.replace(one.ids);
          model = new Set(one.ids);
        } else if (one.what === "snapshot") {
          const expected = [...model].sort();
          given.push([index.snapshot(), expected]);
        } else {
          const gone = one.what === "delete" ? one.id : first;
          if (gone !== undefined) index.delete(gone);
          if (gone !== undefined) model.delete(gone);
        }
      }
      for (const [found, expected] of given) assert.deepEqual(found, expected);
      assert.deepEqual(index.snapshot(), [...model].sort());
    },
  );
}

test("the directory is listed at the start and when others change it, not once per message", async () => {
  await using spool = await tempSpool();
  let listings = 0;
  const disk = nodeDisk(spool.directory);
  const counting = {
    ...disk,
    list: (folder?: string) => {
      listings += 1;
      return disk.list(folder);
    },
    listKinds: () => {
      listings += 1;
      return disk.listKinds();
    },
  };
  const store = await openFileStore({
    directory: spool.directory,
    sync: false,
    shared: false,
    watch: true,
    journal: silentJournal,
    clock: systemClock,
    disk: counting,
  });
  await store.ready();
  const atStart = listings;
  for (let n = 0; n < 50; n++) {
    const id = await storeMessage(store, "x");
    assert.deepEqual(await store.ready(), [id]);
    await using lease = await store.lease(id);
    await lease?.complete();
  }
  assert.equal(listings, atStart);
  const id = await storeMessage(store, "x");
  const path = join(spool.directory, id);
  await rename(`${path}.envelope`, `${path}.x.envelope`);
  assert.ok((await store.ready()).includes(`${id}.x` as MessageId));
  assert.equal(listings, atStart);
  await store.close();
});

test("a name that cannot be looked at ends nothing, and is found as soon as that is possible", {
  timeout: 60_000,
}, async () => {
  await using spool = await tempSpool();
  const disk = nodeDisk(spool.directory);
  let failing = false;
  const queue = new Queue({
    disk: {
      ...disk,
      stat: (name) => {
        if (!failing || name === ".") return disk.stat(name);
        throw Object.assign(new Error("EIO: i/o error, lstat"), { code: "EIO" });
      },
    },
    ...{
      place: new SpoolPlace(disk),
      clock: systemClock,
      inHand: () => false,
      reserved: () => [],
      warn: assert.fail,
    },
  });
  await queue.watch();
  assert.deepEqual(await queue.ready(), []);
  const stop = new AbortController();
  const changes = queue.changes(stop.signal)[Symbol.asyncIterator]();
  failing = true;
  const changed = changes.next();
  spool.put("one.envelope", "");
  assert.notEqual((await changed).done, true);
  assert.deepEqual(await queue.ready(), ["one"]);
  stop.abort();
  await queue.close();
});

test("a message that is put back while it is set aside is seen", { timeout: 60_000 }, async () => {
  await using spool = await tempSpool();
  const disk = nodeDisk(spool.directory);
  const bad = (id: MessageId) => join(spool.directory, `${id}.envelope.bad`);
  let putBack = async () => undefined as unknown;
  const store = await openFileStore({
    ...{ directory: spool.directory, sync: true, shared: false, watch: true },
    ...{ journal: silentJournal, clock: systemClock },
    disk: {
      ...disk,
      syncDirectory: async (folder) => {
        await disk.syncDirectory(folder);
        await putBack();
      },
    },
  });
  const id = await storeMessage(store, "x");
  const lease = await store.lease(id);
  putBack = async () => {
    await rename(bad(id), bad(id).replace(/\.bad$/, ""));
    // The watcher tells of it now, not later.
    for (let turn = 0; turn < 3; turn++) await store.ready();
  };
  await lease?.fail({ text: "no", code: 550, recipients: ["bob@example.net"] });
  assert.deepEqual(await store.ready(), [id]);
  await store.close();
});

/** A queue of a spool whose pauses end when the test says so. */
async function openQueue(directory: string) {
  const sleepers: { ms: number; wake: () => void }[] = [];
  const warnings: string[] = [];
  const time = { ms: 0 };
  const seen = { listings: 0 };
  const disk = nodeDisk(directory);
  const queue = new Queue({
    disk: {
      ...disk,
      listKinds: () => {
        seen.listings += 1;
        const found = disk.listKinds();
        time.ms += found.names.length / 100;
        return found;
      },
    },
    place: new SpoolPlace(disk),
    clock: {
      now: () => Date.now(),
      monotonic: () => time.ms,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          const wake = () => {
            time.ms += ms;
            resolve();
          };
          sleepers.push({ ms, wake });
          signal.addEventListener("abort", () => reject(signal.reason));
        }),
    },
    inHand: () => false,
    reserved: () => [],
    warn: (text) => warnings.push(text),
  });
  let count = 0;
  const put = (id: MessageId) => writeFileSync(join(directory, `${id}.envelope`), "");
  await queue.watch();
  assert.deepEqual(await queue.ready(), []);
  const stop = new AbortController();
  const changes = queue.changes(stop.signal)[Symbol.asyncIterator]();
  return {
    queue,
    warnings,
    seen,
    time,
    put,
    add(messages: number) {
      for (let n = 0; n < messages; n++) {
        count += 1;
        put(newMessageId(1, 1, count));
        queue.add(newMessageId(1, 1, count));
      }
    },
    changed: async () => assert.notEqual((await changes.next()).done, true),
    async paused() {
      while (sleepers.length === 0) await new Promise(setImmediate);
      const [sleeper] = sleepers.splice(0);
      return sleeper ?? assert.fail();
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await queue.close();
    },
  };
}

const foreign = (name: string) => name as MessageId;

test("a busy spool is looked at now and then, a quiet one is watched", {
  timeout: 60_000,
}, async () => {
  await using spool = await tempSpool();
  await using at = await openQueue(spool.directory);
  at.add(101);
  const first = await at.paused();
  assert.equal(first.ms, 250);
  const hinted = at.changed();
  await at.queue.ready();
  const before = at.seen.listings;
  at.put(foreign("one"));
  at.add(50);
  assert.equal((await at.queue.ready()).length, 151);
  assert.equal(at.seen.listings, before, "nobody looks for each message");
  first.wake();
  await hinted;
  assert.ok((await at.queue.ready()).includes(foreign("one")), "seen by the look");
  assert.equal(at.seen.listings, before + 1);
  const second = await at.paused();
  at.put(foreign("two"));
  const resumed = at.changed();
  second.wake();
  await resumed;
  assert.ok((await at.queue.ready()).includes(foreign("two")), "not lost between the two");
  const whenQuiet = at.seen.listings;
  at.put(foreign("three"));
  assert.ok((await at.queue.ready()).includes(foreign("three")), "seen by the watcher");
  assert.equal(at.seen.listings, whenQuiet);
  at.time.ms = 5000;
  at.add(101);
  assert.equal((await at.paused()).ms, 250, "and so on");
  assert.deepEqual(at.warnings, []);
});

test("a busy spool with many names is looked at less often, and watched as soon as it is quiet", {
  timeout: 60_000,
}, async () => {
  await using spool = await tempSpool();
  // Listing them takes 40 ms here.
  for (let n = 0; n < 4000; n++) spool.put(`left.${n}`, "");
  await using at = await openQueue(spool.directory);
  const first = at.seen.listings;
  at.add(101);
  let sleeper = await at.paused();
  assert.equal(at.seen.listings, first, "what the watcher has told is known");
  const began = at.time.ms;
  while (at.seen.listings === first) {
    assert.ok(at.time.ms - began < 3000);
    at.add(50);
    sleeper.wake();
    sleeper = await at.paused();
  }
  assert.ok(at.time.ms - began >= 2000, "fifty times as long as a look takes");
  const resumed = at.changed();
  sleeper.wake();
  await resumed;
  at.put(foreign("one"));
  assert.ok((await at.queue.ready()).includes(foreign("one")), "seen by the watcher");
  assert.deepEqual(at.warnings, []);
});

test("who asks what is there now is told, also between two looks", {
  timeout: 60_000,
}, async () => {
  await using spool = await tempSpool();
  await using at = await openQueue(spool.directory);
  at.add(101);
  await at.paused();
  at.put(foreign("one"));
  assert.ok(!(await at.queue.ready()).includes(foreign("one")));
  assert.ok((await at.queue.ready(true)).includes(foreign("one")));
});

test("a spool that is emptied fast is looked at as well", { timeout: 60_000 }, async () => {
  await using spool = await tempSpool();
  await using at = await openQueue(spool.directory);
  at.add(101);
  const quiet = at.changed();
  (await at.paused()).wake();
  await quiet;
  at.time.ms += 5000;
  for (const id of await at.queue.ready()) at.queue.delete(id);
  assert.equal((await at.paused()).ms, 250);
});

test("a queue that is closed while it looks ends its pause", { timeout: 60_000 }, async () => {
  await using spool = await tempSpool();
  await using at = await openQueue(spool.directory);
  at.add(101);
  await at.paused();
  const { listings } = at.seen;
  await at.queue.close();
  await new Promise(setImmediate);
  assert.equal(at.seen.listings, listings);
});
