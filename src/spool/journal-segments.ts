/** The files of one journal: two segments that take turns, and the notes about messages that were removed. */
import { randomBytes } from "node:crypto";
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import type { AppendFile, BlockFile, Journaling } from "../io/journaling.ts";
import {
  encodeNote,
  JOURNAL_FOLDER,
  type JournalFileKind,
  type JournalOwner,
  journalName,
  type NoteKind,
  ownerHere,
  placeOf,
} from "./journal-files.ts";
import { encodeFree, encodeHead, PAGE_BYTES, type SegmentHead } from "./journal-format.ts";
import type { ProcessTable } from "./process-table.ts";
import { removeIfThere, removeQuietly } from "./staging.ts";

/** With less room than this on the disk it is left to the mail. */
const MIN_FREE_BYTES = 512 * 1024 * 1024;

export interface Segment {
  readonly name: string;
  readonly file: BlockFile;
  /** Which file it is: `placeOf()`. */
  readonly place: string;
  /** "" while it is free. */
  generation: string;
  /** Where the next batch goes. */
  position: number;
  /** What it holds that has not been removed since. */
  readonly held: Set<MessageId>;
}

export interface JournalFilesOptions {
  readonly disk: Disk;
  readonly journaling: Journaling;
  readonly processes: ProcessTable;
}

export class JournalFiles {
  readonly #options: JournalFilesOptions;
  readonly #owner: JournalOwner;
  readonly #n: number;
  readonly #segments: { active: Segment; spare: Segment };
  /** The sync of a new file makes its name survive a power cut. */
  readonly syncsNames: boolean;
  /** About messages in the active segment, and in the one before it. */
  #notes: AppendFile;

  private constructor(
    options: JournalFilesOptions,
    made: {
      owner: JournalOwner;
      n: number;
      active: Segment;
      spare: Segment;
      notes: AppendFile;
      syncsNames: boolean;
    },
  ) {
    this.#options = options;
    this.#owner = made.owner;
    this.#n = made.n;
    this.#segments = { active: made.active, spare: made.spare };
    this.#notes = made.notes;
    this.syncsNames = made.syncsNames;
  }

  /** `size`: bytes of a segment. Throws where there can be no journal. */
  static async make(options: JournalFilesOptions, size: number): Promise<JournalFiles> {
    const { disk, journaling, processes } = options;
    const { freeBytes, known, syncsNames } = journaling.fileSystem();
    if (!known || freeBytes < MIN_FREE_BYTES) throw new Error("Not on this file system");
    const owner = ownerHere(processes);
    // Without these, one that comes after us with our pid would take us for itself, and not replay.
    if (owner.boot === "" || owner.start === "0") throw new Error("Processes look all the same");
    for (const folder of [".relayd", JOURNAL_FOLDER]) makeFolder(disk, folder);
    const n = freeNumber(disk, owner);
    const undo: (() => void)[] = [];
    const made = <T extends { close(): void }>(file: T, kind: JournalFileKind): T => {
      undo.push(() => file.close());
      undo.push(() => removeQuietly(disk, journalName(owner, n, kind)));
      return file;
    };
    try {
      const segmentOf = async (kind: "a" | "b") => {
        const name = journalName(owner, n, kind);
        return newSegment(name, made(await journaling.preallocate(name, size), kind));
      };
      const active = await segmentOf("a");
      const spare = await segmentOf("b");
      const notes = made(journaling.openToAppend(journalName(owner, n, "removed")), "removed");
      const files = new JournalFiles(options, { owner, n, active, spare, notes, syncsNames });
      for (const segment of [active, spare]) files.writeHead(segment, newGeneration(), "free");
      // The segments and their names too; and where this does not work they could never be given back.
      await journaling.syncAll();
      return files;
    } catch (error) {
      for (const step of undo) step();
      throw error;
    }
  }

  get active(): Segment {
    return this.#segments.active;
  }

  get spare(): Segment {
    return this.#segments.spare;
  }

  /** False when the name leads to no file, or to another one, or through a link. */
  isThere({ name, place }: Segment): boolean {
    const { disk } = this.#options;
    if (disk.stat(JOURNAL_FOLDER)?.kind !== "directory") return false;
    const facts = disk.stat(name);
    return facts !== null && placeOf(facts) === place;
  }

  /** Where others note what they remove. */
  get notes(): string {
    return this.#name("removed");
  }

  /** Throws ENOSPC ... */
  note(id: MessageId, kind: NoteKind): void {
    this.#notes.append(encodeNote(id, kind));
  }

  /** Not synced. */
  writeHead({ file }: Segment, generation: string, state: SegmentHead["state"]): void {
    const { device, inode } = file.facts();
    const { home } = this.#options.processes;
    file.write(encodeHead({ ...home, device, inode, generation, state }), 0);
    if (state === "free") file.write(encodeFree(generation), PAGE_BYTES);
  }

  /** The spare segment becomes the active one. */
  turn(): void {
    const { active, spare } = this.#segments;
    this.#segments.active = spare;
    this.#segments.spare = active;
    // Notes are kept for as long as one of the segments may have the message.
    const { disk, journaling } = this.#options;
    try {
      renameIfThere(disk, this.notes, this.#name("removed-before"));
      const next = journaling.openToAppend(this.notes);
      this.#notes.close();
      this.#notes = next;
    } catch {
      // The old ones serve on, under whatever name they have; the next turn tries again.
    }
  }

  /** A segment that was not given back is for the next start, and so is what was noted about it. */
  close(): void {
    const { disk } = this.#options;
    this.#notes.close();
    const { active, spare } = this.#segments;
    for (const { name, file, generation } of [active, spare]) {
      file.close();
      if (generation === "") removeIfThere(disk, name);
    }
    if (active.generation !== "" || spare.generation !== "") return;
    for (const kind of ["removed", "removed-before"] as const) {
      removeIfThere(disk, this.#name(kind));
    }
  }

  #name(kind: JournalFileKind): string {
    return journalName(this.#owner, this.#n, kind);
  }
}

/** There is none after a turn that could not make it. */
function renameIfThere(disk: Disk, from: string, to: string): void {
  try {
    disk.rename(from, to);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

export function newGeneration(): string {
  return randomBytes(8).toString("hex");
}

function newSegment(name: string, file: BlockFile): Segment {
  const place = placeOf(file.facts());
  return { name, file, place, generation: "", position: PAGE_BYTES, held: new Set() };
}

/** A link to elsewhere is not followed when the journal is replayed, nor are other file systems written with the spool. */
function makeFolder(disk: Disk, folder: string): void {
  try {
    disk.makeDirectory(folder);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
  const facts = disk.stat(folder);
  if (facts?.kind !== "directory" || facts.device !== disk.stat(".")?.device) {
    throw new Error("Not a folder of the spool");
  }
}

/** Other stores of this process may have journals too. */
function freeNumber(disk: Disk, owner: JournalOwner): number {
  let n = 0;
  while (n < 1000 && disk.stat(journalName(owner, n, "a")) !== null) n += 1;
  return n;
}
