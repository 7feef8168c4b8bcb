import assert from "node:assert/strict";
import { renameSync } from "node:fs";
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

test("Maildrop.remove() notes nothing of a message that a forwarder has taken since the login", async () => {
  await using pop = await testPop();
  pop.put("a", "x");
  const notes: string[] = [];
  const options = { spool: pop.directory, byName: false, sync: false, journal: silentJournal };
  const noteRemoval = (id: string, kind: string) => void notes.push(`${kind} ${id}`);
  const maildrop = await openMaildrop({ ...options, noteRemoval }, "me");
  renameSync(`${pop.directory}/a.envelope`, `${pop.directory}/a.envelope.busy`);
  assert.equal(await maildrop.remove(maildrop.messages), true);
  assert.deepEqual(notes, []);
  assert.deepEqual(pop.names(), ["a.content", "a.envelope.busy"]);
});

test("Maildrop.remove() takes its note back when a forwarder was faster, and not when the message has gone", async () => {
  await using pop = await testPop();
  for (const id of ["a", "b", "c"]) pop.put(id, "x");
  const log: string[] = [];
  const noteRemoval = (id: string, kind: string) => void log.push(`${kind} ${id}`);
  const options = { spool: pop.directory, byName: false, sync: false, journal: silentJournal };
  const openDisk = (directory: string): Disk => {
    const disk = nodeDisk(directory);
    return {
      ...disk,
      remove(name) {
        // Somebody else, between the look and the removal.
        if (name === "a.envelope") disk.rename(name, `${name}.busy`);
        if (name === "b.envelope") disk.remove(name);
        disk.remove(name);
      },
    };
  };
  const maildrop = await openMaildrop({ ...options, noteRemoval, openDisk }, "me");
  assert.equal(await maildrop.remove(maildrop.messages), true);
  assert.deepEqual(log, ["removed a", "kept a", "removed b", "removed c"]);
  assert.deepEqual(pop.names(), ["a.content", "a.envelope.busy", "b.content"]);
});
