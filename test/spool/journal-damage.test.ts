/** A journal that a power cut has made the only copy of messages, and whose medium has lost bytes of it too. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Journal, silentJournal } from "../../src/core/events.ts";
import { type MessageId, parseMessageId } from "../../src/core/message-id.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { type FileStore, openFileStore } from "../../src/spool/file-store.ts";
import { encodeBatch, encodeDone, encodePut, PAGE_BYTES } from "../../src/spool/journal-format.ts";
import { replayJournal } from "../../src/spool/journal-replay.ts";
import type { ProcessTable } from "../../src/spool/process-table.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import { anEnvelope, storeMessage } from "../support/messages.ts";
import { shortClock } from "../support/short-clock.ts";

const JOURNAL = ".relayd/journal";
const SMALL = "Subject: x\r\n\r\nhello\r\n";
/** Its batch has four pages. */
const LONG = `Subject: x\r\n\r\n${"hello\r\n".repeat(2000)}`;
const HUGE = `Subject: x\r\n\r\n${"hello\r\n".repeat(50_000)}`;

/** What the first one of a machine that was started anew sees. */
function processesOf(boot: string): ProcessTable {
  return {
    home: { host: "host", boot, namespace: "pid:1" },
    pid: 7,
    startOf: (one) => (one === 7 ? boot : null),
    startedAtMs: () => Date.now(),
  };
}

async function openOn(
  disk: CrashingDisk,
  boot: string,
  { segmentPages = 64, warnings = [] as string[] } = {},
): Promise<FileStore> {
  const tell: Journal["tell"] = (event) => {
    if (event.kind === "note" && event.level === "warning") warnings.push(event.text);
  };
  return await openFileStore({
    ...{ directory: disk.directory, sync: true, shared: false, disk, clock: shortClock },
    journal: { ...silentJournal, tell },
    processes: processesOf(boot),
    commits: { segmentBytes: segmentPages * PAGE_BYTES, demand: 0 },
  });
}

/** The first message asks for the journal, and is synced by itself. */
async function engaged(disk: CrashingDisk, segmentPages?: number): Promise<FileStore> {
  const store = await openOn(disk, "1", { ...(segmentPages && { segmentPages }) });
  await storeMessage(store, SMALL);
  await turns();
  return store;
}

/** What is done beside everything else is done then. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
}

async function deliver(store: FileStore, id: MessageId): Promise<void> {
  await using lease = await store.lease(id);
  await lease?.complete();
}

interface Segment {
  readonly disk: CrashingDisk;
  readonly path: string;
  /** Its bytes: what is changed in them is changed on the disk. */
  readonly bytes: Buffer;
  /** Where its batches are. */
  readonly batches: readonly number[];
}

function segmentOn(disk: CrashingDisk, kind: "a" | "b" = "a"): Segment {
  const name = disk.list(JOURNAL).find((one) => one.endsWith(`.${kind}`)) ?? assert.fail();
  const path = `${JOURNAL}/${name}`;
  const bytes = Buffer.from(disk.peek(path) ?? assert.fail());
  disk.edit(path, "in place", bytes);
  const isBatch = (at: number) => bytes.subarray(at, at + 16).equals(bytes.subarray(0, 16));
  return { disk, path, bytes, batches: pagesOf(bytes).filter(isBatch) };
}

function pagesOf(bytes: Buffer): readonly number[] {
  const pages = Array.from({ length: bytes.length / PAGE_BYTES }, (_, n) => n * PAGE_BYTES);
  return pages.slice(1);
}

/** Each message in a batch of its own, and after the power cut in the journal only. */
async function afterCut(
  contents: readonly string[],
): Promise<Segment & { readonly ids: readonly MessageId[] }> {
  const disk = new CrashingDisk({ syncsNames: true });
  const store = await engaged(disk);
  const ids: MessageId[] = [];
  for (const content of contents) ids.push(await storeMessage(store, content));
  const segment = segmentOn(disk.copy(Number.POSITIVE_INFINITY));
  assert.equal(segment.batches.length, contents.length);
  const left = segment.disk.names().filter((name) => ids.some((id) => name === `${id}.envelope`));
  assert.deepEqual(left, []);
  return { ...segment, ids };
}

function flip(bytes: Buffer, at: number): void {
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
}

/** Of the envelope or the content, unless told otherwise. */
function flipInBatch({ bytes, batches }: Pick<Segment, "bytes" | "batches">, n: number, at = 100) {
  flip(bytes, (batches[n] ?? assert.fail()) + at);
}

/** In what it says, not in the generation. */
const IN_HEAD = 30;

/** By number, what is there again; what was told; and what is left in the journal. */
async function restoredFrom(disk: CrashingDisk, ids: readonly MessageId[], boot = "2") {
  const warnings: string[] = [];
  const store = await openOn(disk, boot, { warnings });
  const ready = await store.ready();
  const restored = ids.flatMap((id, n) => (ready.includes(id) ? [n] : []));
  return { store, restored, warnings, journal: disk.list(JOURNAL) };
}

const FIVE = [SMALL, SMALL, LONG, SMALL, SMALL];
const DAMAGED: Record<string, { to: (left: Segment) => void; restored: readonly number[] }> = {
  "a bit of the first batch": {
    to: (left) => flipInBatch(left, 0),
    restored: [1, 2, 3, 4],
  },
  "a bit on the third page of one in the middle": {
    to: (left) => flipInBatch(left, 2, 2 * PAGE_BYTES),
    restored: [0, 1, 3, 4],
  },
  "the length of one in the middle": {
    to: (left) => flipInBatch(left, 1, 17),
    restored: [0, 2, 3, 4],
  },
  "the length of one, which then seems to go on to the end of the segment": {
    to: ({ bytes, batches: [, at = 0] }) => bytes.writeUInt32LE(bytes.length - at - 24, at + 16),
    restored: [0, 2, 3, 4],
  },
  "the generation of one in the middle": {
    to: (left) => flipInBatch(left, 2, 0),
    restored: [0, 1, 3, 4],
  },
  "zeros where two were": {
    to: ({ bytes, batches }) => bytes.fill(0, batches[1], batches[3]),
    restored: [0, 3, 4],
  },
  "two that are apart": {
    to: (segment) => {
      for (const n of [1, 3]) flipInBatch(segment, n);
    },
    restored: [0, 2, 4],
  },
  "the last one but one, and the last one torn": {
    to: (segment) => {
      for (const n of [3, 4]) flipInBatch(segment, n);
    },
    restored: [0, 1, 2],
  },
  "the head and one in the middle": {
    to: (segment) => {
      flip(segment.bytes, IN_HEAD);
      flipInBatch(segment, 1);
    },
    restored: [0, 2, 3, 4],
  },
  "the head and the first batch": {
    to: (segment) => {
      flip(segment.bytes, IN_HEAD);
      flipInBatch(segment, 0);
    },
    restored: [],
  },
};

for (const [what, { to, restored }] of Object.entries(DAMAGED)) {
  test(`every other batch is replayed, and the segment kept, when this is damaged: ${what}`, async () => {
    const { disk, ids, ...segment } = await afterCut(FIVE);
    to({ disk, ...segment });
    const found = await restoredFrom(disk, ids);
    assert.deepEqual(found.restored, restored);
    for (const n of restored) assert.equal(disk.peek(`${ids[n]}.content`)?.toString(), FIVE[n]);
    const [name = "", ...others] = found.journal;
    assert.match(name, /^2-7-2\.0\.damaged\.\d+-\d+$/);
    assert.deepEqual(others, []);
    assert.deepEqual(disk.peek(`${JOURNAL}/${name}`), segment.bytes);
    assert.equal(found.warnings.length, 1);
    assert.match(found.warnings[0] ?? "", new RegExp(`"${JOURNAL}/${name}"`));
  });
}

test("a last batch that cannot be read is what a power cut leaves: nothing is told or kept", async () => {
  const { disk, ids, ...segment } = await afterCut(FIVE);
  flipInBatch(segment, 4);
  const { restored, warnings, journal } = await restoredFrom(disk, ids);
  assert.deepEqual(restored, [0, 1, 2, 3]);
  assert.deepEqual([...warnings, ...journal], []);
});

test("the first batch tells what a damaged head does not, and everything is replayed", async () => {
  for (const at of [IN_HEAD, 0]) {
    const { disk, ids, bytes } = await afterCut(FIVE);
    flip(bytes, at);
    const { restored, warnings, journal } = await restoredFrom(disk, ids);
    assert.deepEqual(restored, [0, 1, 2, 3, 4]);
    assert.deepEqual([...warnings, ...journal], []);
  }
});

test("a segment set aside is told of at each start, not replayed again, and never removed", async () => {
  const { disk, ids, ...segment } = await afterCut(FIVE);
  flipInBatch(segment, 0);
  const first = await restoredFrom(disk, ids);
  for (const id of ids) await deliver(first.store, id);
  await first.store.close();
  const second = await restoredFrom(disk, ids, "3");
  assert.deepEqual(second.restored, []);
  assert.equal(first.journal.length, 1);
  assert.deepEqual(second.journal, first.journal);
  assert.deepEqual(second.warnings, first.warnings);
});

test("a segment set aside does not take the name of one that was before it", async () => {
  const { disk, ids, ...segment } = await afterCut(FIVE);
  flipInBatch(segment, 0);
  const taken = `${JOURNAL}/2-7-2.0.damaged.1-${disk.stat(segment.path)?.inode}`;
  disk.create(taken).append(Buffer.from("another one"));
  const { journal } = await restoredFrom(disk, ids);
  assert.equal(journal.length, 2);
  assert.equal(disk.peek(taken)?.toString(), "another one");
});

test("a power cut while a damaged segment is replayed loses neither it nor what it has", async () => {
  const { disk, ids, ...segment } = await afterCut(FIVE);
  flipInBatch(segment, 0);
  const begin = disk.killed();
  for (let steps = 0; ; steps++) {
    const cut = begin.copy(steps);
    await openOn(cut, "2").catch((error: unknown) => assert.ok(cut.isDead, String(error)));
    for (const survivor of cut.survivors()) {
      const { restored, journal } = await restoredFrom(survivor, ids, "3");
      assert.deepEqual(restored, [1, 2, 3, 4], `before ${steps}`);
      assert.equal(journal.length, 1, `before ${steps}: ${journal.join()}`);
      assert.deepEqual(survivor.peek(`${JOURNAL}/${journal[0]}`), segment.bytes);
    }
    if (!cut.isDead) break;
  }
});

test("content is not taken for half-written while its envelope may be in a damaged batch", async () => {
  const { disk, ids, ...segment } = await afterCut([HUGE, SMALL]);
  const [huge] = ids;
  flipInBatch(segment, 0);
  const { store, restored, journal } = await restoredFrom(disk, ids);
  assert.deepEqual(restored, [1]);
  await store.recover();
  assert.equal(disk.peek(`${huge}.content`)?.toString(), HUGE);
  await store.close();
  for (const name of journal) disk.remove(`${JOURNAL}/${name}`);
  await restoredFrom(disk, ids, "3");
  assert.equal(disk.peek(`${huge}.content`), null);
});

/** What a client may send to have it taken for a batch: `at` is where its content begins in the segment. */
function imitation(at: number, victim: MessageId): { forged: MessageId; content: Buffer } {
  const forged = parseMessageId("emailrelay.1.1.77") ?? assert.fail();
  const content = Buffer.from("Subject: forged\r\n\r\n");
  const envelope = Buffer.from(encodeEnvelope(anEnvelope, ""));
  const put = encodePut(forged, { content, contentBytes: content.length, envelope, said: null });
  const batch = encodeBatch("0123456789abcdef", [put, encodeDone(victim)]);
  const before = Buffer.alloc(PAGE_BYTES - (at % PAGE_BYTES), "x");
  return { forged, content: Buffer.concat([before, batch, batch]) };
}

for (const damaged of ["nothing", "its own batch", "the head", "the head and the first batch"]) {
  test(`content that looks like batches is not replayed when this is damaged: ${damaged}`, async () => {
    const disk = new CrashingDisk();
    const store = await engaged(disk);
    const first = await storeMessage(store, SMALL);
    const { forged, content } = imitation(24 + 11 + first.length, first);
    const sender = await storeMessage(store, content);
    const last = await storeMessage(store, SMALL);
    const left = segmentOn(disk.copy(Number.POSITIVE_INFINITY));
    const fake = (at: number) => left.bytes.toString("latin1", at, at + 16) === "0123456789abcdef";
    assert.equal(pagesOf(left.bytes).filter(fake).length, 2, "it is where a batch may begin");
    if (damaged === "its own batch") flipInBatch(left, 1);
    if (damaged.includes("the head")) flip(left.bytes, IN_HEAD);
    if (damaged.includes("the first batch")) flipInBatch(left, 0);
    const { restored } = await restoredFrom(left.disk, [first, sender, last, forged]);
    const expected = { nothing: [0, 1, 2], "its own batch": [0, 2], "the head": [0, 1, 2] };
    assert.deepEqual(restored, expected[damaged as keyof typeof expected] ?? []);
  });
}

/** A segment of three batches that is in use for the second time: one batch, and two of the first time behind it. */
async function usedAgain() {
  const disk = new CrashingDisk();
  const store = await engaged(disk, 4);
  const ids: MessageId[] = [];
  for (let n = 0; n < 7; n++) ids.push(await storeMessage(store, SMALL));
  await turns();
  for (const id of ids.slice(0, 6)) await deliver(store, id);
  const left = disk.killed();
  const segment = segmentOn(left);
  assert.equal(segment.batches.length, 1);
  assert.match(segment.bytes.toString("latin1", 2 * PAGE_BYTES), /^[0-9a-f]{16}/);
  return { ...segment, ids };
}

for (const [what, restored] of [
  ["nothing", [6]],
  ["its only batch", []],
  ["its head", [6]],
] as const) {
  test(`batches of an earlier use are neither replayed nor told of when this is damaged: ${what}`, async () => {
    const { disk, ids, ...segment } = await usedAgain();
    // The message is in the journal only.
    for (const ending of ["envelope", "content"]) disk.remove(`${ids[6]}.${ending}`);
    if (what === "its head") flip(segment.bytes, IN_HEAD);
    if (what === "its only batch") flipInBatch(segment, 0);
    const found = await restoredFrom(disk, ids);
    assert.deepEqual(found.restored, restored);
    assert.deepEqual([...found.warnings, ...found.journal], []);
  });
}

test("what was delivered does not come back from a free segment with a damaged head", async () => {
  const { disk, ids } = await usedAgain();
  const { bytes } = segmentOn(disk, "b");
  assert.match(bytes.toString("latin1", 0, 1000), /"state":"free"/);
  flip(bytes, IN_HEAD);
  const { restored, warnings, journal } = await restoredFrom(disk, ids);
  assert.deepEqual(restored, [6]);
  assert.deepEqual([...warnings, ...journal], []);
});

test("a segment of another container whose head is damaged may hold messages", async () => {
  const { disk, bytes } = await afterCut([SMALL]);
  flip(bytes, IN_HEAD);
  const replayed = async () =>
    await replayJournal({
      ...{
        disk,
        journaling: disk.journaling,
        claimed: { paths: new Set(), doubted: false },
        onRestored: () => assert.fail(),
      },
      processes: { ...processesOf("1"), pid: 8, startOf: (pid) => (pid === 8 ? "1" : null) },
      clock: { ...shortClock, now: () => 0 },
    });
  assert.equal((await replayed()).left, true);
  bytes.fill(0);
  assert.equal((await replayed()).left, false, "half made, as it was when its owner was killed");
});
