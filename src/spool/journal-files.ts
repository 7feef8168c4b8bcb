/**
 * The files in the folder of the commit journal: `<boot>-<pid>-<start>.<n>.<kind>`. Their names say
 * which process uses them: only that one, while it lives.
 */
import { crc32 } from "node:zlib";
import { type MessageId, parseMessageId } from "../core/message-id.ts";
import type { FileFacts } from "../io/disk.ts";
import type { ProcessTable } from "./process-table.ts";

export const JOURNAL_FOLDER = ".relayd/journal";

/**
 * "a" and "b": the segments that take turns; "replay": one that is being replayed; "damaged": one
 * that was, and could not be read in full, kept for the operator; "removed" and "removed-before":
 * notes about messages that were removed.
 */
export type JournalFileKind = "a" | "b" | "replay" | "damaged" | "removed" | "removed-before";

/** A process, and when it started. */
export interface JournalOwner {
  /** The first characters of the boot id; "" where the system has none. */
  readonly boot: string;
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly start: string;
}

export interface JournalFileName {
  readonly owner: JournalOwner;
  readonly kind: JournalFileKind;
  /** For "replay" and "damaged": device and inode of the file when it was claimed; a copy has others. */
  readonly place: string;
}

const NAME =
  /^([0-9a-f]{0,8})-(\d{1,10})-(\d+)\.\d{1,4}\.(a|b|replay|damaged|removed|removed-before)(?:\.(\d+-\d+))?$/;

export function ownerHere({ home, pid, startOf }: ProcessTable): JournalOwner {
  return { boot: bootMark(home.boot), pid, start: startOf(pid) ?? "0" };
}

/** What names have of a boot id. */
export function bootMark(boot: string): string {
  return boot
    .toLowerCase()
    .replace(/[^0-9a-f]/g, "")
    .slice(0, 8);
}

export function journalName(owner: JournalOwner, n: number, kind: JournalFileKind): string {
  return `${JOURNAL_FOLDER}/${owner.boot}-${owner.pid}-${owner.start}.${n}.${kind}`;
}

/** null for what is not ours. `name`: without its folder. */
export function parseJournalName(name: string): JournalFileName | null {
  const [, boot, pid, start, kind, place = ""] = NAME.exec(name) ?? [];
  if (boot === undefined || pid === undefined || start === undefined) return null;
  return { owner: { boot, pid: Number(pid), start }, kind: kind as JournalFileKind, place };
}

/** Where a segment is that this process claims, or sets aside. */
export function claimName(
  owner: JournalOwner,
  n: number,
  { kind, facts }: { kind: "replay" | "damaged"; facts: FileFacts },
): string {
  return `${journalName(owner, n, kind)}.${placeOf(facts)}`;
}

export function placeOf({ device, inode }: Pick<FileFacts, "device" | "inode">): string {
  return `${device}-${inode}`;
}

/** Bytes of a segment; none is larger. */
export const SEGMENT_BYTES = 16 * 1024 * 1024;
/** Bytes; a segment's worth of them is a few megabytes. */
const MAX_NOTES_BYTES = 256 * 1024 * 1024;

/** True for more than any of us writes, and perhaps more than fits into memory. */
export function isTooLarge(kind: JournalFileKind, bytes: number): boolean {
  return bytes > (kind.startsWith("removed") ? MAX_NOTES_BYTES : SEGMENT_BYTES);
}

/** "removed": the message is about to be; "kept": it could not be removed after all. */
export type NoteKind = "removed" | "kept";

/** Before a name that is kept: no message that is in a journal has such a name. */
const KEPT = "+";

/** One line. Begun anew, as the line before it may have been cut short. */
export function encodeNote(id: MessageId, kind: NoteKind): Buffer {
  const name = kind === "kept" ? `${KEPT}${id}` : id;
  return Buffer.from(`\n${name} ${checksum(name)}\n`);
}

/** What whole lines say; what a power cut has torn says nothing. */
export function decodeNotes(bytes: Buffer): readonly { id: MessageId; kind: NoteKind }[] {
  const notes: { id: MessageId; kind: NoteKind }[] = [];
  // Without the last line end there is no whole line behind it.
  for (const line of bytes.toString().split("\n").slice(0, -1)) {
    const at = line.lastIndexOf(" ");
    const name = line.slice(0, Math.max(0, at));
    if (line.slice(at + 1) !== checksum(name)) continue;
    const kept = name.startsWith(KEPT);
    const id = parseMessageId(kept ? name.slice(KEPT.length) : name);
    if (id !== null) notes.push({ id, kind: kept ? "kept" : "removed" });
  }
  return notes;
}

function checksum(name: string): string {
  return crc32(name).toString(16);
}
