import assert from "node:assert/strict";
import { test } from "node:test";
import { silentJournal } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { DiskFile } from "../../src/io/disk.ts";
import { SharedSync } from "../../src/spool/commit.ts";
import { openFileStore } from "../../src/spool/file-store.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import { storeMessage } from "../support/messages.ts";

/** A disk whose directory syncs end when the test says so. */
function slowDisk() {
  const ends: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const disk = new CrashingDisk();
  disk.syncDirectory = () =>
    new Promise<void>((resolve, reject) => {
      ends.push({ resolve, reject });
    });
  return { disk, ends };
}

test("flush() never settles for a sync that began before it, and shares the next one", async () => {
  const { disk, ends } = slowDisk();
  const directory = new SharedSync(disk);
  const settled: string[] = [];
  const first = directory.flush().then(() => settled.push("first"));
  const second = directory.flush().then(() => settled.push("second"));
  const third = directory.flush().then(() => settled.push("third"));
  assert.equal(ends.length, 1);
  ends[0]?.resolve();
  await first;
  assert.deepEqual(settled, ["first"]);
  assert.equal(ends.length, 2);
  ends[1]?.resolve();
  await Promise.all([second, third]);
  assert.equal(ends.length, 2);
});

test("flush() fails for those who shared a failed sync, and for nobody else", async () => {
  const { disk, ends } = slowDisk();
  const directory = new SharedSync(disk);
  const first = assert.rejects(directory.flush(), /EIO/);
  const second = directory.flush();
  ends[0]?.reject(new Error("EIO"));
  await first;
  ends[1]?.resolve();
  await second;
});

/** Stores a message on a disk where syncing files of that ending, or the directory, fails. */
async function storeWithFailingSync(ending: string, code: string): Promise<CrashingDisk> {
  const disk = new CrashingDisk();
  const fail = async () => {
    throw Object.assign(new Error(`${code}: no luck, fsync`), { code, syscall: "fsync" });
  };
  const create = disk.create.bind(disk);
  disk.create = (name): DiskFile => {
    const file = create(name);
    return name.endsWith(ending) ? { ...file, sync: fail } : file;
  };
  if (ending === "directory") disk.syncDirectory = fail;
  const { directory } = disk;
  const store = await openFileStore({
    directory,
    sync: true,
    shared: false,
    journal: silentJournal,
    clock: systemClock,
    disk,
  });
  await assert.rejects(storeMessage(store, "x"), {
    code: code === "EIO" ? "SPOOL_IO" : "SPOOL_FULL",
    message: /^cannot commit ".*": no luck$/,
  });
  assert.deepEqual(await store.ready(), []);
  return disk;
}

test("commit() leaves nothing and throws SPOOL_IO when any sync fails", async () => {
  for (const ending of [".content", ".envelope.new", "directory"]) {
    const disk = await storeWithFailingSync(ending, "EIO");
    assert.deepEqual(disk.list(), [], ending);
  }
});

test("commit() throws SPOOL_FULL when a sync finds no room", async () => {
  await storeWithFailingSync(".content", "ENOSPC");
  await storeWithFailingSync(".envelope.new", "EDQUOT");
});
