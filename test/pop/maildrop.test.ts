import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { silentJournal } from "../../src/core/events.ts";
import type { Disk } from "../../src/io/disk.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { openMaildrop } from "../../src/pop/maildrop.ts";
import { testPop } from "../support/pop-server.ts";

/** The file system's own disks, that write down what changes and what is synced. */
function recording(log: string[]): (directory: string) => Disk {
  return (directory) => {
    const disk = nodeDisk(directory);
    const where = basename(directory).startsWith("relayd-pop-") ? "spool" : basename(directory);
    return {
      ...disk,
      remove(name) {
        log.push(`${where}: remove ${name}`);
        disk.remove(name);
      },
      async syncDirectory() {
        log.push(`${where}: sync`);
        await disk.syncDirectory();
      },
    };
  };
}

test("Maildrop.remove() has the envelopes' removal on disk before content goes, and that before it ends", async () => {
  await using pop = await testPop();
  pop.folder("me");
  for (const id of ["a", "b"]) pop.put(id, "x", "me");
  pop.write("me/c.envelope", "x");
  pop.write("c.content", "x");
  const log: string[] = [];
  const options = { spool: pop.directory, byName: true, journal: silentJournal };
  const maildrop = await openMaildrop({ ...options, sync: true, openDisk: recording(log) }, "me");
  assert.equal(await maildrop.remove(maildrop.messages), true);
  assert.deepEqual(log, [
    ...["me: remove a.envelope", "me: remove b.envelope", "me: remove c.envelope", "me: sync"],
    ...["me: remove a.content", "me: remove b.content", "spool: remove c.content"],
    ...["me: sync", "spool: sync"],
  ]);
});

test("Maildrop.remove() does not sync where that is not wanted", async () => {
  await using pop = await testPop();
  pop.put("a", "x");
  const log: string[] = [];
  const options = { spool: pop.directory, byName: false, journal: silentJournal };
  const maildrop = await openMaildrop({ ...options, sync: false, openDisk: recording(log) }, "me");
  await maildrop.remove(maildrop.messages);
  assert.deepEqual(log, ["spool: remove a.envelope", "spool: remove a.content"]);
});
