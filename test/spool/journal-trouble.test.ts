/** The journal of commits beside other programs, other disks and other accounts, and when the disk has faults. */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import { silentJournal } from "../../src/core/events.ts";
import { type MessageId, parseMessageId } from "../../src/core/message-id.ts";
import type { Disk } from "../../src/io/disk.ts";
import { decodeNotes, encodeNote } from "../../src/spool/journal-files.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import {
  closing,
  disks,
  engaged,
  faulty,
  JOURNAL,
  openOn,
  TEXT,
} from "../support/journal-bench.ts";
import { anEnvelope, storeMessage } from "../support/messages.ts";
import { shortClock } from "../support/short-clock.ts";

test("a mailbox keeps the content that it shares with the spool when the journal is replayed", async () => {
  const disk = new CrashingDisk();
  const store = await engaged(disk);
  const id = await storeMessage(store, TEXT);
  disk.makeDirectory("postmaster");
  const { editor } = store;
  const files = {
    content: `${disk.directory}/${id}.content`,
    envelope: `${disk.directory}/${id}.envelope`,
  };
  await editor.distribute(files, {
    base: disk.directory,
    mailboxes: ["postmaster"],
    content: "stay",
    originals: "remove",
  });
  const left = disk.killed();
  await openOn(left, { pid: 8 });
  assert.equal(left.peek(`${id}.content`)?.toString(), TEXT);
  assert.equal(left.peek(`${id}.envelope`), null);
});

test("no mail is forwarded while the journal cannot be replayed, and all of it is when it can", async () => {
  const before = new CrashingDisk();
  const ids = [await storeMessage(await engaged(before), TEXT)];
  const torn = before.survivors({ device: 2 })[0] ?? assert.fail();
  const disk: Disk & { full: boolean } = {
    ...disks(torn),
    full: true,
    create: (name) => {
      if (disk.full) throw faulty("ENOSPC");
      return torn.create(name);
    },
  };
  const told: string[] = [];
  const journal = {
    ...silentJournal,
    tell: (event: object) => void told.push(JSON.stringify(event)),
  };
  const retry = new EventEmitter();
  const sleep = async () => void (await once(retry, "now"));
  const more = { journal, clock: { ...shortClock, sleep } };
  await using store = await closing(openOn(disk, { boot: "2" }, more));
  assert.match(told.join(), /no mail is forwarded until the journal is replayed/);
  assert.deepEqual(await store.ready(), []);
  await assert.rejects(store.ready(true), { code: "SPOOL_IO", message: /^no mail is forwarded/ });
  assert.equal(await store.lease(ids[0] ?? assert.fail()), null);
  disk.full = false;
  const changes = store.changes(new AbortController().signal)[Symbol.asyncIterator]();
  const woken = changes.next();
  retry.emit("now");
  await woken;
  for (const id of ids) assert.ok((await store.ready()).includes(id));
  for (const id of ids) assert.equal(torn.peek(`${id}.content`)?.toString(), TEXT);
  assert.deepEqual(torn.list(JOURNAL), []);
});

test("a message that was torn is whole in the queue though another account's segment cannot be read", async () => {
  const before = new CrashingDisk();
  const id = await storeMessage(await engaged(before), TEXT);
  const torn = before.survivors({ device: 2 })[0] ?? assert.fail();
  const foreign = `${JOURNAL}/1-1-1.0.a`;
  torn.create(foreign).append(Buffer.alloc(4096));
  const disk: Disk = {
    ...disks(torn),
    open: (name) => {
      if (name === foreign) throw faulty("EACCES");
      return torn.open(name);
    },
  };
  const told: string[] = [];
  const journal = {
    ...silentJournal,
    tell: (event: object) => void told.push(JSON.stringify(event)),
  };
  await using store = await closing(openOn(disk, { boot: "2" }, { journal }));
  assert.ok((await store.ready()).includes(id));
  assert.match(told.join(), /permission denied/);
});

test("there is no journal where its folder leads elsewhere, and the message is synced by itself", async () => {
  const disk = new CrashingDisk();
  disk.makeDirectory(".relayd");
  const linked: Disk = {
    ...disks(disk),
    stat: (name) => {
      const facts = disk.stat(name);
      return facts !== null && name === JOURNAL ? { ...facts, kind: "other" } : facts;
    },
  };
  await using store = await closing(engaged(linked));
  await storeMessage(store, TEXT);
  assert.equal(disk.syncs.at(-1), "directory");
});

for (const [what, place] of Object.entries({
  "the system has no boot id": { boot: "" },
  "the system does not tell when a process started": { start: "0" },
})) {
  test(`there is no journal where ${what}: its replay could be missed`, async () => {
    const disk = new CrashingDisk();
    await using store = await closing(engaged(disk, place));
    await storeMessage(store, TEXT);
    assert.equal(disk.syncs.at(-1), "directory");
    assert.deepEqual(disk.list(JOURNAL), []);
  });
}

test("a journal that cannot be made leaves no files", async () => {
  const disk = new CrashingDisk();
  const syncAll = async () => {
    throw faulty("EAGAIN");
  };
  const failing: Disk = { ...disks(disk), journaling: { ...disk.journaling, syncAll } };
  await using store = await closing(engaged(failing));
  await storeMessage(store, TEXT);
  assert.deepEqual(disk.list(JOURNAL), []);
});

test("free segments of a container that is gone are removed, those of one that lives stay", async () => {
  const disk = new CrashingDisk();
  await engaged(disk, { host: "other", pid: 1 });
  const beating: Disk = {
    ...disks(disk),
    stat: (name) => {
      const facts = disk.stat(name);
      return facts && name.includes("/holders/") ? { ...facts, modifiedMs: Date.now() } : facts;
    },
  };
  disk.makeDirectory(".relayd/holders");
  disk.create(".relayd/holders/1.5");
  await openOn(beating, { pid: 9 });
  assert.equal(disk.list(JOURNAL).length, 3);
  disk.remove(".relayd/holders/1.5");
  await openOn(beating, { pid: 10 });
  assert.deepEqual(disk.list(JOURNAL), []);
});

test("notes about removals go with the segments of their owner, whoever else has a journal", async () => {
  const disk = new CrashingDisk();
  await using living = await closing(engaged(disk));
  disk.create(`${JOURNAL}/1-6-5.0.removed`);
  await openOn(disk, { pid: 8, alive: [7] });
  assert.ok(!disk.list(JOURNAL).includes("1-6-5.0.removed"));
  const id = await storeMessage(living, TEXT);
  await using lease = await living.lease(id);
  await lease?.complete();
});

test("a note is not written for a journal that has ended since", async () => {
  const disk = new CrashingDisk();
  const first = await engaged(disk);
  const [one, two] = [await storeMessage(first, TEXT), await storeMessage(first, TEXT)];
  await using forwarder = await closing(openOn(disk, { pid: 8, alive: [7] }));
  const deliver = async (id: MessageId) => {
    await using lease = await forwarder.lease(id);
    await lease?.complete();
  };
  await deliver(one);
  await first.close();
  await deliver(two);
  assert.deepEqual(disk.list(JOURNAL), []);
});

test("a note can be read though the one before it was cut short", () => {
  const [one, two] = [parseMessageId("emailrelay.1.1.1"), parseMessageId("emailrelay.1.1.2")];
  assert.ok(one !== null && two !== null);
  const cut = encodeNote(one, "removed").subarray(0, 8);
  const whole = encodeNote(two, "kept");
  assert.deepEqual(decodeNotes(Buffer.concat([cut, whole])), [{ id: two, kind: "kept" }]);
});

test("content that lies alone is not removed before the journal that has its envelope is replayed", async () => {
  const before = new CrashingDisk({ syncsNames: true });
  const huge = `Subject: x\r\n\r\n${"x".repeat(300 * 1024)}\r\n`;
  const id = await storeMessage(await engaged(before), huge);
  const envelopes = (disk: CrashingDisk) =>
    disk.list().filter((name) => name.startsWith(`${id}.envelope`));
  const torn = before.survivors({ device: 2 }).find((disk) => envelopes(disk).length === 0);
  assert.ok(torn?.peek(`${id}.content`)?.length === huge.length);
  const trouble = { full: true };
  const disk: Disk = {
    ...disks(torn),
    create: (name) => {
      if (trouble.full) throw faulty("ENOSPC");
      return torn.create(name);
    },
  };
  const retry = new EventEmitter();
  const sleep = async () => void (await once(retry, "now"));
  await using store = await closing(
    openOn(disk, { boot: "2", pid: 8 }, { clock: { ...shortClock, sleep } }),
  );
  await store.recover();
  trouble.full = false;
  const changes = store.changes(new AbortController().signal)[Symbol.asyncIterator]();
  const woken = changes.next();
  retry.emit("now");
  await woken;
  assert.ok((await store.ready()).includes(id));
  assert.equal(torn.peek(`${id}.content`)?.toString(), huge);
});

test("of a large message the journal has the envelope: without content there is nothing to make whole", async () => {
  const disk = new CrashingDisk({ syncsNames: true });
  const store = await engaged(disk);
  const huge = `Subject: x\r\n\r\n${"x".repeat(300 * 1024)}\r\n`;
  const accepted: MessageId[] = [];
  for (let n = 0; n < 4; n++) accepted.push(await storeMessage(store, huge));
  const [torn, removed, gone, edited] = accepted as [MessageId, MessageId, MessageId, MessageId];
  // What a power cut may leave of the envelopes, and what may have been done before it.
  disk.edit(`${torn}.envelope`, "in place", Buffer.alloc(0));
  store.noteRemoval(removed, "removed");
  disk.remove(`${removed}.envelope`);
  for (const ending of ["envelope", "content"]) disk.remove(`${gone}.${ending}`);
  disk.edit(`${edited}.content`, "in place", Buffer.from("as a filter wants it\r\n"));
  disk.remove(`${edited}.envelope`);
  const left = disk.killed();
  const next = await openOn(left, { pid: 8 });
  const ready = await next.ready();
  for (const id of [torn, edited]) assert.ok(ready.includes(id));
  for (const id of [removed, gone]) {
    assert.deepEqual(
      left.list().filter((name) => name.startsWith(`${id}.`)),
      [],
    );
  }
  assert.equal(left.peek(`${torn}.content`)?.toString(), huge);
  assert.equal(left.peek(`${edited}.content`)?.toString(), "as a filter wants it\r\n");
  await using lease = await next.lease(torn);
  assert.deepEqual(lease?.envelope, anEnvelope);
});

for (const step of ["create", "append"] as const) {
  test(`a message whose envelope cannot be made after it is in the journal is refused, and gone: ${step}`, async () => {
    const memory = new CrashingDisk();
    const trouble = { full: false };
    const fail = (name: string, at: string) => {
      if (trouble.full && at === step && name.endsWith(".busy")) throw faulty("ENOSPC");
    };
    const store = await engaged({
      ...disks(memory),
      create: (name) => {
        fail(name, "create");
        const file = memory.create(name);
        const append = (bytes: Uint8Array) => {
          fail(name, "append");
          file.append(bytes);
        };
        return { ...file, append };
      },
    });
    const first = (await store.ready())[0] ?? assert.fail();
    await (await store.lease(first))?.complete();
    trouble.full = true;
    await assert.rejects(storeMessage(store, TEXT), { code: "SPOOL_FULL" });
    const files = () => memory.list().filter((name) => name.startsWith("emailrelay."));
    assert.deepEqual(files(), []);
    assert.deepEqual(await store.ready(), []);
    trouble.full = false;
    const id = await storeMessage(store, TEXT);
    assert.deepEqual(files(), [`${id}.content`, `${id}.envelope.busy`]);
    const left = memory.killed();
    await openOn(left, { pid: 8 });
    const names = left.list().filter((name) => name.startsWith("emailrelay."));
    assert.deepEqual(names.sort(), [`${id}.content`, `${id}.envelope`]);
  });
}
