/**
 * What becomes of journal segments that a crash has left, before anything else reads the spool.
 * After a power cut the messages in them are made whole again; after a mere kill the files are in
 * the system's memory and only have to be written.
 */
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import type { Journaling } from "../io/journaling.ts";
import { JOURNAL_FOLDER, removeIfThere } from "./journal.ts";
import {
  decodeHead,
  decodeRecords,
  type JournalRecord,
  type SegmentHead,
} from "./journal-format.ts";
import { badName, busyName, contentName, envelopeName, newName } from "./names.ts";
import type { ProcessTable } from "./process-table.ts";

export interface ReplayOptions {
  readonly disk: Disk;
  readonly journaling: Journaling;
  readonly processes: ProcessTable;
  readonly nowMs: number;
}

export interface Replayed {
  /** Messages whose files were written anew. */
  readonly restored: readonly MessageId[];
  /** True when a segment had to stay for now: its owner, in another container, may be alive. */
  readonly left: boolean;
}

/** A segment is in use for seconds only; one that was not written for so long has lost its owner. */
export const ORPHAN_MS = 60_000;

interface Segment {
  readonly path: string;
  readonly head: SegmentHead | null;
  readonly bytes: Buffer;
}

type Put = Extract<JournalRecord, { kind: "put" }>;

/** Repeatable: when it is cut short the segments are still there. Throws what the disk throws. */
export async function replayJournal(options: ReplayOptions): Promise<Replayed> {
  const { disk, processes } = options;
  const found = segmentsIn(disk);
  const free = found.filter((one) => !isInUse(options, one));
  const used = free.filter(({ head }) => head?.state === "used");
  const left = found.some((one) => one.head?.state === "used" && !free.includes(one));
  if (free.length === 0) return { restored: [], left };
  const { boot } = processes.home;
  const restored = await restore(
    disk,
    used.filter(({ head }) => head?.boot !== boot),
  );
  if (used.some(({ head }) => head?.boot === boot)) await options.journaling.syncAll();
  for (const { path } of free) removeIfThere(disk, path);
  // Before any of the messages is removed again: they must not come back a second time.
  await disk.syncDirectory(JOURNAL_FOLDER);
  return { restored, left };
}

function segmentsIn(disk: Disk): readonly Segment[] {
  if (!isFolder(disk)) return [];
  return disk.list(JOURNAL_FOLDER).flatMap((name) => {
    const path = `${JOURNAL_FOLDER}/${name}`;
    const bytes = readIfFile(disk, path);
    return bytes === null ? [] : [{ path, bytes, head: decodeHead(bytes) }];
  });
}

function isFolder(disk: Disk): boolean {
  try {
    return disk.stat(JOURNAL_FOLDER)?.kind === "directory";
  } catch (error) {
    if (isErrno(error, "ENOTDIR")) return false;
    throw error;
  }
}

function isInUse({ disk, processes, nowMs }: ReplayOptions, { path, head }: Segment): boolean {
  const { home } = processes;
  if (head !== null && head.boot !== home.boot) return false;
  const [, pid = "", start = ""] = /\/(\d{1,10})\.(\d+)\.\w+$/.exec(path) ?? [];
  if (processes.startOf(Number(pid)) === start) return true;
  if (head !== null && head.host === home.host && head.namespace === home.namespace) return false;
  // Of another container, or being made there: only age can tell, and a free one does no harm.
  const young = nowMs - (disk.stat(path)?.modifiedMs ?? 0) < ORPHAN_MS;
  return young || head?.state === "free";
}

async function restore(disk: Disk, segments: readonly Segment[]): Promise<readonly MessageId[]> {
  const records = segments.flatMap(({ head, bytes }) =>
    head === null ? [] : decodeRecords(bytes, head),
  );
  const puts = new Map<MessageId, Put>();
  for (const record of records) if (record.kind === "put") puts.set(record.id, record);
  const done = new Set(records.filter(({ kind }) => kind === "done").map(({ id }) => id));
  const restored: MessageId[] = [];
  for (const [id, put] of puts) {
    if (done.has(id)) removeLeft(disk, put);
    else if (await makeWhole(disk, put)) restored.push(id);
  }
  if (puts.size > 0) await disk.syncDirectory();
  return restored;
}

/** Its removal may have been lost with the power; what somebody has changed since is left alone. */
function removeLeft(disk: Disk, put: Put): void {
  for (const name of [newName(put.id), ...envelopeNames(put.id)]) {
    const found = readIfFile(disk, name);
    if (found !== null && isOrWas(found, put.envelope)) disk.remove(name);
  }
  if (envelopeNames(put.id).some((name) => disk.stat(name) !== null)) return;
  const content = readIfFile(disk, contentName(put.id));
  if (content !== null && isOrWas(content, put.content)) disk.remove(contentName(put.id));
}

/** Content first: an envelope makes it a message. True when anything had to be written. */
async function makeWhole(disk: Disk, { id, content, envelope }: Put): Promise<boolean> {
  const wrote = await ensure(disk, contentName(id), content, `${contentName(id)}.tmp`);
  const there = envelopeNames(id).filter((name) => disk.stat(name) !== null);
  const torn = there.filter((name) => isTorn(readIfFile(disk, name), envelope));
  if (there.length > torn.length) {
    for (const name of torn) disk.remove(name);
    return wrote || torn.length > 0;
  }
  const waiting = envelopeName(id);
  await write(disk, newName(id), envelope);
  disk.rename(newName(id), waiting);
  for (const name of torn) if (name !== waiting) disk.remove(name);
  return true;
}

function envelopeNames(id: MessageId): readonly string[] {
  return [envelopeName(id), busyName(id), badName(id)];
}

/** What is whole, or was changed by somebody, or is no file of ours, stays. */
async function ensure(
  disk: Disk,
  name: string,
  bytes: Buffer,
  temporary: string,
): Promise<boolean> {
  const facts = disk.stat(name);
  if (facts !== null && !isTorn(readIfFile(disk, name), bytes)) return false;
  await write(disk, temporary, bytes);
  disk.rename(temporary, name);
  return true;
}

async function write(disk: Disk, name: string, bytes: Buffer): Promise<void> {
  removeIfThere(disk, name);
  const file = disk.create(name);
  try {
    file.append(bytes);
    await file.sync();
  } finally {
    file.close();
  }
}

/** Cut short, or with zeros where bytes never reached the disk, and otherwise as it was written. */
function isTorn(found: Buffer | null, written: Buffer): boolean {
  return found !== null && !found.equals(written) && isOrWas(found, written);
}

function isOrWas(found: Buffer, written: Buffer): boolean {
  if (found.length > written.length) return false;
  return found.every((byte, at) => byte === 0 || byte === written[at]);
}

/** null when there is none, or it is no regular file. */
function readIfFile(disk: Disk, name: string): Buffer | null {
  if (disk.stat(name)?.kind !== "file") return null;
  try {
    const file = disk.open(name);
    try {
      return file.readAll();
    } finally {
      file.close();
    }
  } catch (error) {
    if (isErrno(error, "ENOENT", "ELOOP")) return null;
    throw error;
  }
}
