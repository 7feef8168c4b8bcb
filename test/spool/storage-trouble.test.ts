import assert from "node:assert/strict";
import { test } from "node:test";
import type { Disk } from "../../src/io/disk.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { putMessage } from "../support/spool-files.ts";
import { tempSpool } from "../support/temp-spool.ts";

/** A disk on which operations fail while `broken` names them. */
function breakableDisk(directory: string): { disk: Disk; broken: Set<"rename" | "remove"> } {
  const broken = new Set<"rename" | "remove">();
  const whole = nodeDisk(directory);
  const fail = (what: "rename" | "remove") => {
    if (!broken.has(what)) return;
    throw Object.assign(new Error("EROFS: read-only file system"), {
      code: "EROFS",
      syscall: what,
    });
  };
  const disk: Disk = {
    ...whole,
    rename: (from, to) => {
      fail("rename");
      whole.rename(from, to);
    },
    remove: (name) => {
      fail("remove");
      whole.remove(name);
    },
  };
  return { disk, broken };
}

const ID = "emailrelay.1.1.1";

test("complete() never lets a message be sent again that could not be removed", async () => {
  await using spool = await tempSpool();
  putMessage(spool.directory, ID);
  const { disk, broken } = breakableDisk(spool.directory);
  const store = await spool.open({ disk });
  const [id] = await store.ready();
  assert.ok(id !== undefined);
  {
    await using lease = await store.lease(id);
    broken.add("remove");
    await lease?.complete();
  }
  await store.recover();
  assert.deepEqual(await store.ready(), []);
  assert.equal(await store.lease(id), null);
  broken.clear();
  assert.deepEqual(await store.ready(), []);
  assert.deepEqual(spool.names(), []);
});

test("a lease that could not be put back is put back when the fault ends, however long that takes", async () => {
  await using spool = await tempSpool();
  putMessage(spool.directory, ID);
  const { disk, broken } = breakableDisk(spool.directory);
  const store = await spool.open({ disk });
  const [id] = await store.ready();
  assert.ok(id !== undefined);
  {
    await using _ = await store.lease(id);
    broken.add("rename");
  }
  for (let polls = 0; polls < 3; polls++) assert.deepEqual(await store.ready(), []);
  broken.clear();
  assert.deepEqual(await store.ready(), [ID]);
});
