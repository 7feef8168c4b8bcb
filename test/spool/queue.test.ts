/** The index of what waits stays cheap with many messages and follows what others do. */
import assert from "node:assert/strict";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { silentJournal } from "../../src/core/events.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { openFileStore } from "../../src/spool/file-store.ts";
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
