/**
 * What becomes of journal segments that a crash has left, before anything else reads the spool. The
 * messages in them are made whole again, unless they were removed. Nobody asks whether it was a
 * power cut or a mere kill: a copy of the disk, or a disk that was taken away and came back, looks
 * like a kill and has lost as much as in a power cut.
 */
import type { Clock } from "../core/clock.ts";
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk, FileFacts } from "../io/disk.ts";
import type { Journaling } from "../io/journaling.ts";
import {
  bootMark,
  claimName,
  decodeNotes,
  JOURNAL_FOLDER,
  type JournalFileName,
  ownerHere,
  parseJournalName,
  placeOf,
} from "./journal-files.ts";
import {
  decodeHead,
  decodeRecords,
  type JournalRecord,
  type SegmentHead,
} from "./journal-format.ts";
import { readIfFile, restoreMessages } from "./journal-restore.ts";
import type { ProcessTable } from "./process-table.ts";
import { removeIfThere } from "./staging.ts";

export interface ReplayOptions {
  readonly disk: Disk;
  readonly journaling: Journaling;
  readonly processes: ProcessTable;
  readonly clock: Clock;
}

export interface Replayed {
  /** Messages whose files were written anew. */
  readonly restored: readonly MessageId[];
  /** True when a segment had to stay for now: its owner, in another container, may be alive. */
  readonly left: boolean;
}

/** A segment is in use for seconds only; one that was not written for so long has lost its owner. */
export const ORPHAN_MS = 60_000;
/** Another process that replays is waited for so long: until it is done, files may be torn. */
const PATIENCE_MS = 30_000;
const GLANCE_MS = 50;

interface Found {
  readonly path: string;
  readonly name: JournalFileName;
  readonly facts: FileFacts;
}

interface Segment {
  readonly head: SegmentHead | null;
  readonly bytes: Buffer;
}

/** Repeatable: when it is cut short the segments are still there. Throws what the disk throws. */
export async function replayJournal(options: ReplayOptions): Promise<Replayed> {
  const { disk } = options;
  const taken: string[] = [];
  let left = false;
  for (const found of segmentsIn(disk)) {
    const segment = readSegment(disk, found.path);
    if (segment === null) continue;
    if (isInUse(options, found, segment.head)) {
      left ||= segment.head?.state === "used" && !isHere(options, found);
      continue;
    }
    const path = claim(options, found);
    if (path !== null) taken.push(path);
  }
  const restored = await restore(options, taken);
  await othersAreDone(options);
  removeNotes(options);
  return { restored, left };
}

/** From the claim on nobody else touches them. */
async function restore(
  { disk, journaling }: ReplayOptions,
  paths: readonly string[],
): Promise<readonly MessageId[]> {
  if (paths.length === 0) return [];
  const records: JournalRecord[] = [];
  for (const path of paths) {
    const { head, bytes } = readSegment(disk, path) ?? { head: null, bytes: Buffer.alloc(0) };
    if (head?.state === "used") records.push(...decodeRecords(bytes, head));
  }
  const restored = await restoreMessages(disk, records, () => notesIn(disk));
  // What was whole already may be so in memory only.
  if (records.length > 0) await journaling.syncAll();
  for (const path of paths) removeIfThere(disk, path);
  // Before any of the messages is removed again: they must not come back a second time.
  await disk.syncDirectory(JOURNAL_FOLDER);
  return restored;
}

/** null when another process was faster. */
function claim({ disk, processes }: ReplayOptions, { path, facts }: Found): string | null {
  const owner = ownerHere(processes);
  for (let n = 0; ; n++) {
    const mine = claimName(owner, n, facts);
    if (disk.stat(mine) !== null) continue;
    try {
      disk.rename(path, mine);
      return mine;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return null;
      throw error;
    }
  }
}

async function othersAreDone(options: ReplayOptions): Promise<void> {
  const { disk, clock } = options;
  const until = clock.monotonic() + PATIENCE_MS;
  const isReplayed = (found: Found) =>
    found.name.kind === "replay" && isInUse(options, found, null) && !isOurs(options, found);
  while (segmentsIn(disk).some(isReplayed) && clock.monotonic() < until) {
    await clock.sleep(GLANCE_MS, NEVER);
  }
}

const NEVER = new AbortController().signal;

function filesIn(disk: Disk): readonly Found[] {
  if (!isFolder(disk)) return [];
  return disk.list(JOURNAL_FOLDER).flatMap((name) => {
    const parsed = parseJournalName(name);
    const path = `${JOURNAL_FOLDER}/${name}`;
    const facts = parsed === null ? null : disk.stat(path);
    return parsed === null || facts?.kind !== "file" ? [] : [{ path, name: parsed, facts }];
  });
}

function segmentsIn(disk: Disk): readonly Found[] {
  return filesIn(disk).filter(({ name }) => !name.kind.startsWith("removed"));
}

function isFolder(disk: Disk): boolean {
  try {
    return disk.stat(JOURNAL_FOLDER)?.kind === "directory";
  } catch (error) {
    if (isErrno(error, "ENOTDIR")) return false;
    throw error;
  }
}

function readSegment(disk: Disk, path: string): Segment | null {
  const bytes = readIfFile(disk, path);
  return bytes === null ? null : { bytes, head: decodeHead(bytes) };
}

/** True if the process that the name says runs on this machine, as far as we can see. */
function isHere({ processes }: ReplayOptions, { name: { owner } }: Found): boolean {
  if (owner.boot !== bootMark(processes.home.boot)) return false;
  return processes.startOf(owner.pid) === owner.start;
}

function isOurs({ processes }: ReplayOptions, { name: { owner } }: Found): boolean {
  const { pid, start } = ownerHere(processes);
  return owner.pid === pid && owner.start === start;
}

function isInUse(options: ReplayOptions, found: Found, head: SegmentHead | null): boolean {
  const { home } = options.processes;
  if (found.name.owner.boot !== bootMark(home.boot)) return false;
  if (isCopy(found, head)) return false;
  if (isHere(options, found)) return true;
  if (head !== null && head.host === home.host && head.namespace === home.namespace) return false;
  // Of another container, or being made there: only age can tell, and a free one does no harm.
  const young = options.clock.now() - found.facts.changedMs < ORPHAN_MS;
  return young || head?.state === "free";
}

/** Its owner, alive or not, uses another file: this one was copied, or is on a copy of the disk. */
function isCopy({ name, facts }: Found, head: SegmentHead | null): boolean {
  if (name.kind === "replay") return name.place !== placeOf(facts);
  return head !== null && placeOf(head) !== placeOf(facts);
}

/** What all who removed messages have noted. */
function notesIn(disk: Disk): ReadonlySet<MessageId> {
  const notes = filesIn(disk).filter(({ name }) => name.kind.startsWith("removed"));
  return new Set(
    notes.flatMap(({ path }) => decodeNotes(readIfFile(disk, path) ?? Buffer.alloc(0))),
  );
}

/** They are needed as long as a segment of the same owner is there. */
function removeNotes(options: ReplayOptions): void {
  const files = filesIn(options.disk);
  const hasSegments = files.some(({ name }) => !name.kind.startsWith("removed"));
  for (const found of files) {
    if (!found.name.kind.startsWith("removed") || isHere(options, found)) continue;
    // Segments that are being replayed no longer say whose they were.
    if (!hasSegments) removeIfThere(options.disk, found.path);
  }
}
