/** What a replay of the journal does where it may not look, or may not write. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Disk } from "../../src/io/disk.ts";
import { encodeNote } from "../../src/spool/journal-files.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import {
  closing,
  disks,
  engaged,
  faulty,
  JOURNAL,
  listening,
  openOn,
  TEXT,
} from "../support/journal-bench.ts";
import { storeMessage } from "../support/messages.ts";

test("what was torn is made whole beside a folder that may not be listed, and content that may be a mailbox's stays", async () => {
  const before = new CrashingDisk();
  before.makeDirectory("lost+found");
  const first = await engaged(before);
  const torn = await storeMessage(first, TEXT);
  const removed = await storeMessage(first, TEXT);
  // The power cut has left the content of both empty; the note about one of them is there.
  const left =
    before.survivors({ device: 2 }).find((disk) => disk.peek(`${removed}.content`)?.length === 0) ??
    assert.fail();
  const [notes = ""] = left.list(JOURNAL).filter((name) => name.endsWith(".removed"));
  left.journaling.openToAppend(`${JOURNAL}/${notes}`).append(encodeNote(removed, "removed"));
  const disk: Disk = {
    ...disks(left),
    list: (folder) => {
      if (folder === "lost+found") throw faulty("EACCES");
      return left.list(folder);
    },
  };
  await using store = await closing(openOn(disk, { boot: "2" }));
  assert.ok((await store.ready()).includes(torn));
  assert.equal(left.peek(`${torn}.content`)?.toString(), TEXT);
  assert.equal(left.peek(`${removed}.envelope`), null);
  assert.notEqual(left.peek(`${removed}.content`), null);
  assert.deepEqual(left.list(JOURNAL), []);
});

test("what another account has noted for itself keeps nothing from being made whole", async () => {
  const before = new CrashingDisk();
  const id = await storeMessage(await engaged(before), TEXT);
  const torn = before.survivors({ device: 2 })[0] ?? assert.fail();
  const foreign = `${JOURNAL}/1-1-1.0.removed`;
  torn.create(foreign).append(Buffer.from("\n"));
  const disk: Disk = {
    ...disks(torn),
    open: (name) => {
      if (name === foreign) throw faulty("EACCES");
      return torn.open(name);
    },
  };
  await using store = await closing(openOn(disk, { boot: "2" }));
  assert.ok((await store.ready()).includes(id));
  assert.equal(torn.peek(`${id}.content`)?.toString(), TEXT);
});

test("no mail is forwarded while the spool may not be written to and a journal that was claimed is not replayed", async () => {
  const before = new CrashingDisk();
  await storeMessage(await engaged(before), TEXT);
  const torn = before.survivors({ device: 2 })[0] ?? assert.fail();
  const disk: Disk = {
    ...disks(torn),
    create: () => {
      throw faulty("EACCES");
    },
  };
  const { told, journal } = listening();
  await using store = await closing(openOn(disk, { boot: "2" }, { journal }));
  assert.match(told.join(), /no mail is forwarded until the journal is replayed/);
  assert.deepEqual(await store.ready(), []);
});

test("mail is forwarded where the journal folder may not be listed: what was in it may not be read either", async () => {
  const before = new CrashingDisk();
  const id = await storeMessage(await engaged(before), TEXT);
  const left = before.killed();
  const disk: Disk = {
    ...disks(left),
    list: (folder) => {
      if (folder === JOURNAL) throw faulty("EACCES");
      return left.list(folder);
    },
  };
  await using store = await closing(openOn(disk, { pid: 8 }));
  assert.ok((await store.ready()).includes(id));
});
