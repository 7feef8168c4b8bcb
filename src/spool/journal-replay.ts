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
  isTooLarge,
  JOURNAL_FOLDER,
  type JournalFileName,
  type NoteKind,
  ownerHere,
  parseJournalName,
  placeOf,
} from "./journal-files.ts";
import {
  decodeHead,
  decodeSegment,
  type JournalRecord,
  type SegmentHead,
} from "./journal-format.ts";
import { readIfFile, restoreMessages } from "./journal-restore.ts";
import type { ProcessTable } from "./process-table.ts";
import { removeIfThere } from "./staging.ts";

export interface ReplayOptions {
  readonly disk: Disk;
  readonly journaling: Pick<Journaling, "syncAll">;
  readonly processes: ProcessTable;
  readonly clock: Clock;
  /** What an earlier call has claimed and could not replay; kept by this one. */
  readonly claimed: Claimed;
  /** Called for each message whose files were written anew. */
  readonly onRestored: (id: MessageId) => void;
}

export interface Claimed {
  readonly paths: Set<string>;
  /**
   * True when files that are whole may be so in memory only, and syncing them again would not tell: a sync of them
   * has failed, or somebody has begun to replay them and nobody knows how far that came.
   */
  doubted: boolean;
}

export interface Replayed {
  /** True when a segment had to stay for now: its owner, in another container, may be alive. */
  readonly left: boolean;
  /** Segments that we may not read: nor, then, the messages in them, which have the same owner and rights. */
  readonly unreadable: readonly string[];
  /** What this call and earlier ones have set aside: segments that were damaged, and are still there. */
  readonly damaged: readonly string[];
  /** What none of us has made like that, whatever its name says: it is never read. */
  readonly tooLarge: readonly string[];
}

/** A segment is in use for seconds only; one that was not written for so long has lost its owner. */
export const ORPHAN_MS = 60_000;
/** Another process that replays is waited for so long: until it is done, files may be torn. */
const PATIENCE_MS = 30_000;
const GLANCE_MS = 50;
/** Ends the name of the older notes. */
const BEFORE = "-before";
const HOLDERS_FOLDER = ".relayd/holders";

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
  const { disk, claimed } = options;
  const unreadable: string[] = [];
  let left = false;
  for (const found of segmentsIn(disk)) {
    if (claimed.paths.has(found.path)) continue;
    try {
      left = claimUnlessInUse(options, found) || left;
    } catch (error) {
      if (!isErrno(error, "EACCES", "EPERM")) throw error;
      unreadable.push(found.path);
    }
  }
  await restore(options);
  await othersAreDone(options);
  removeNotes(options);
  const damaged = filesIn(disk).filter(({ name }) => name.kind === "damaged");
  const tooLarge = namedIn(disk).filter(isForeign);
  const paths = (files: readonly Found[]) => files.map(({ path }) => path);
  return { left, unreadable, damaged: paths(damaged), tooLarge: paths(tooLarge) };
}

/** True when it may hold messages, as one with a damaged head, and its owner may be alive elsewhere. */
function claimUnlessInUse(options: ReplayOptions, found: Found): boolean {
  const segment = readSegment(options.disk, found.path);
  if (segment === null) return false;
  if (isInUse(options, found, segment.head)) {
    return mayHold(segment) && !isHere(options, found);
  }
  const path = claim(options, found);
  if (path !== null) options.claimed.paths.add(path);
  if (found.name.kind === "replay") options.claimed.doubted = true;
  return false;
}

/** Not one whose owner was killed before it had a head: it is made of zeros. */
function mayHold({ head, bytes }: Segment): boolean {
  return head === null ? !bytes.equals(Buffer.alloc(bytes.length)) : head.state !== "free";
}

/** From the claim on nobody else touches them. */
async function restore(options: ReplayOptions): Promise<void> {
  const { disk, claimed, onRestored } = options;
  const { paths } = claimed;
  if (paths.size === 0) return;
  let records: readonly JournalRecord[] = [];
  const damaged: string[] = [];
  for (const path of paths) {
    const segment = readSegment(disk, path);
    if (segment === null) continue;
    if (segment.head?.state === "doubted") claimed.doubted = true;
    const found = decodeSegment(segment.bytes, segment.head);
    records = records.concat(found.records);
    if (found.isDamaged) damaged.push(path);
  }
  const restored = await restoreMessages(disk, records, {
    notes: notesReader(disk),
    whole: claimed.doubted ? "write anew" : "leave",
  });
  for (const id of restored) onRestored(id);
  if (records.length > 0) await syncRestored(options);
  for (const path of damaged) setAside(options, path);
  for (const path of paths) removeIfThere(disk, path);
  // Before any of the messages is removed again: they must not come back a second time.
  await disk.syncDirectory(JOURNAL_FOLDER);
  paths.clear();
  claimed.doubted = false;
}

/** Names, and what was whole already, which may be so in memory only; what was written anew is on disk. */
async function syncRestored({ disk, journaling, claimed }: ReplayOptions): Promise<void> {
  try {
    await disk.syncDirectory();
    if (!claimed.doubted) await journaling.syncAll();
  } catch (error) {
    claimed.doubted = true;
    throw error;
  }
}

/** null when another process was faster. */
function claim(options: ReplayOptions, { path, facts }: Found): string | null {
  const mine = freeName(options, "replay", facts);
  try {
    options.disk.rename(path, mine);
    return mine;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return null;
    throw error;
  }
}

/** It may be all that is left of messages that were accepted: nobody replays it again, or removes it. */
function setAside(options: ReplayOptions, path: string): void {
  const facts = options.disk.stat(path);
  if (facts !== null) options.disk.rename(path, freeName(options, "damaged", facts));
}

function freeName(
  { disk, processes }: ReplayOptions,
  kind: "replay" | "damaged",
  facts: FileFacts,
): string {
  const owner = ownerHere(processes);
  for (let n = 0; ; n++) {
    const name = claimName(owner, n, { kind, facts });
    if (disk.stat(name) === null) return name;
  }
}

/** Throws when they take too long: the files of their messages may still be torn. */
async function othersAreDone(options: ReplayOptions): Promise<void> {
  const { disk, clock } = options;
  const until = clock.monotonic() + PATIENCE_MS;
  const isReplayed = (found: Found) =>
    found.name.kind === "replay" && isInUse(options, found, null) && !isOurs(options, found);
  while (segmentsIn(disk).some(isReplayed)) {
    if (clock.monotonic() >= until) throw new Error("another process has not finished it");
    await clock.sleep(GLANCE_MS, NEVER);
  }
}

function ownerOf({ name: { owner } }: Found): string {
  return `${owner.boot}-${owner.pid}-${owner.start}`;
}

const NEVER = new AbortController().signal;

function filesIn(disk: Disk): readonly Found[] {
  return namedIn(disk).filter((found) => !isForeign(found));
}

function isForeign({ name, facts }: Found): boolean {
  return isTooLarge(name.kind, facts.size);
}

function namedIn(disk: Disk): readonly Found[] {
  return namesIn(disk, JOURNAL_FOLDER).flatMap((name) => {
    const parsed = parseJournalName(name);
    const path = `${JOURNAL_FOLDER}/${name}`;
    const facts = parsed === null ? null : disk.stat(path);
    return parsed === null || facts?.kind !== "file" ? [] : [{ path, name: parsed, facts }];
  });
}

function segmentsIn(disk: Disk): readonly Found[] {
  return filesIn(disk).filter(({ name: { kind } }) => ["a", "b", "replay"].includes(kind));
}

function namesIn(disk: Disk, folder: string): readonly string[] {
  try {
    return disk.stat(folder)?.kind === "directory" ? disk.list(folder) : [];
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return [];
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
  return young || (head?.state === "free" && isBeating(options, found));
}

/** The owner of a free segment does not write to it, but to its holder file. */
function isBeating({ disk, clock }: ReplayOptions, { name: { owner } }: Found): boolean {
  const holder = `${owner.pid}.${owner.start}`;
  return namesIn(disk, HOLDERS_FOLDER)
    .filter((name) => name === holder || name.startsWith(`${holder}.`))
    .some((name) => {
      const facts = disk.stat(`${HOLDERS_FOLDER}/${name}`);
      return facts !== null && clock.now() - facts.modifiedMs < ORPHAN_MS;
    });
}

/** Its owner, alive or not, uses another file: this one was copied, or is on a copy of the disk. */
function isCopy({ name, facts }: Found, head: SegmentHead | null): boolean {
  if (name.kind === "replay") return name.place !== placeOf(facts);
  return head !== null && placeOf(head) !== placeOf(facts);
}

/** What all who removed messages have noted; read again only when there is more of it. */
function notesReader(disk: Disk): () => ReadonlySet<MessageId> {
  let read = "";
  let ids: ReadonlySet<MessageId> = new Set();
  return () => {
    const notes = filesIn(disk).filter(({ name }) => name.kind.startsWith("removed"));
    const now = notes.map(({ path, facts }) => `${path} ${facts.inode} ${facts.size}`).join();
    if (now === read) return ids;
    read = now;
    ids = removedBy(notes.map(({ path }) => ({ path, lines: decodeNotes(readNotes(disk, path)) })));
    return ids;
  };
}

/**
 * The last line about a message in the notes of one journal, the older file first, is what became of it. Where the
 * notes of several disagree it is kept: twice is better than never.
 */
function removedBy(
  notes: readonly { path: string; lines: ReturnType<typeof decodeNotes> }[],
): ReadonlySet<MessageId> {
  const journals = new Map<string, Map<MessageId, NoteKind>>();
  const older = notes.filter(({ path }) => path.endsWith(BEFORE));
  const newer = notes.filter(({ path }) => !path.endsWith(BEFORE));
  for (const { path, lines } of [...older, ...newer]) {
    const journal = path.endsWith(BEFORE) ? path.slice(0, -BEFORE.length) : path;
    const last = journals.get(journal) ?? new Map<MessageId, NoteKind>();
    journals.set(journal, last);
    for (const { id, kind } of lines) last.set(id, kind);
  }
  const all = [...journals.values()].flatMap((last) => [...last]);
  const kept = new Set(all.flatMap(([id, kind]) => (kind === "kept" ? [id] : [])));
  return new Set(all.flatMap(([id]) => (kept.has(id) ? [] : [id])));
}

/** What another account has noted for itself alone is about messages of its own. */
function readNotes(disk: Disk, path: string): Buffer {
  try {
    return readIfFile(disk, path) ?? Buffer.alloc(0);
  } catch (error) {
    if (isErrno(error, "EACCES", "EPERM")) return Buffer.alloc(0);
    throw error;
  }
}

/** They are needed as long as a segment of the same owner is there. */
function removeNotes(options: ReplayOptions): void {
  const segments = segmentsIn(options.disk);
  // Segments that are being replayed no longer say whose they were.
  if (segments.some(({ name }) => name.kind === "replay")) return;
  const owners = new Set(segments.map(ownerOf));
  for (const found of filesIn(options.disk)) {
    if (!found.name.kind.startsWith("removed") || isHere(options, found)) continue;
    if (!owners.has(ownerOf(found))) removeIfThere(options.disk, found.path);
  }
}
