/** How the two segments of the journal, and their notes, take turns. */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import { type MessageId, parseMessageId } from "../../src/core/message-id.ts";
import { decodeNotes, encodeNote } from "../../src/spool/journal-files.ts";
import { PAGE_BYTES } from "../../src/spool/journal-format.ts";
import { JournalFiles } from "../../src/spool/journal-segments.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import {
  closing,
  engaged,
  faulty,
  JOURNAL,
  openOn,
  processesAt,
  TEXT,
} from "../support/journal-bench.ts";
import { storeMessage } from "../support/messages.ts";
import { shortClock } from "../support/short-clock.ts";

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

test("what waits while the time of a segment is up is given back in its time too", async () => {
  const disk = new CrashingDisk();
  const { preallocate } = disk.journaling;
  let syncing = async () => undefined as unknown;
  Object.assign(disk.journaling, {
    preallocate: async (name: string, bytes: number) => {
      const file = await preallocate(name, bytes);
      const sync = async () => {
        await syncing();
        await file.sync();
      };
      return { ...file, sync };
    },
  });
  const bell = new EventEmitter();
  const sleep = async (ms: number, signal: AbortSignal) => {
    await (ms === 5000 ? once(bell, "time is up") : shortClock.sleep(ms, signal));
  };
  await using store = await closing(engaged(disk, {}, { clock: { ...shortClock, sleep } }));
  const given = () => disk.syncs.filter((what) => what === "everything").length;
  const before = given();
  const waiting: Promise<MessageId>[] = [];
  syncing = async () => {
    syncing = async () => undefined;
    waiting.push(storeMessage(store, TEXT));
    await turns(5);
    bell.emit("time is up");
  };
  await storeMessage(store, TEXT);
  await Promise.all(waiting);
  await turns(20);
  assert.equal(given() - before, 1);
  bell.emit("time is up");
  await turns(40);
  assert.equal(given() - before, 2);
});

test("notes that could not be made in one turn are there after the next", async () => {
  const disk = new CrashingDisk();
  const { openToAppend } = disk.journaling;
  const trouble = { isFull: false };
  const journaling = {
    ...disk.journaling,
    openToAppend: (name: string) => {
      if (trouble.isFull) throw faulty("EMFILE");
      return openToAppend(name);
    },
  };
  const files = await JournalFiles.make(
    { disk, journaling, processes: processesAt({}) },
    4 * PAGE_BYTES,
  );
  const [one, two] = ["emailrelay.7.1.1", "emailrelay.7.1.2"].map(parseMessageId);
  trouble.isFull = true;
  files.turn();
  files.note(one ?? assert.fail(), "removed");
  trouble.isFull = false;
  files.turn();
  files.note(two ?? assert.fail(), "removed");
  const noted = (name: string) =>
    decodeNotes(disk.peek(name) ?? Buffer.alloc(0)).map(({ id }) => id);
  assert.deepEqual(noted(files.notes), [two]);
  assert.deepEqual(noted(`${files.notes}-before`), [one]);
});

test("what was noted last about a message counts: kept, and then removed after all", async () => {
  const disk = new CrashingDisk();
  const store = await engaged(disk);
  const id = await storeMessage(store, TEXT);
  for (const kind of ["removed", "kept", "removed"] as const) store.noteRemoval(id, kind);
  for (const ending of ["envelope", "content"]) disk.remove(`${id}.${ending}`);
  const next = await openOn(disk.killed(), { pid: 8 });
  assert.ok(!(await next.ready()).includes(id));
});

test("what was noted last counts though the notes have gone on in another file since", async () => {
  const disk = new CrashingDisk();
  const store = await engaged(disk);
  const id = await storeMessage(store, TEXT);
  store.noteRemoval(id, "removed");
  const [name = ""] = disk.list(JOURNAL).filter((one) => one.endsWith(".removed"));
  const notes = `${JOURNAL}/${name}`;
  disk.rename(notes, "aside");
  disk.journaling.openToAppend(notes).append(encodeNote(id, "kept"));
  disk.rename("aside", `${notes}-before`);
  const next = await openOn(disk.killed(), { pid: 8 });
  assert.ok((await next.ready()).includes(id));
});

test("notes of two journals that disagree keep the message", async () => {
  const disk = new CrashingDisk();
  const store = await engaged(disk);
  const id = await storeMessage(store, TEXT);
  for (const kind of ["removed", "kept"] as const) store.noteRemoval(id, kind);
  disk.journaling.openToAppend(`${JOURNAL}/1-6-5.0.removed`).append(encodeNote(id, "removed"));
  const next = await openOn(disk.killed(), { pid: 8 });
  assert.ok((await next.ready()).includes(id));
});
