/**
 * Tells the commit journals of a spool that a message is about to be removed: those of this store,
 * and of other processes that serve the same spool, or served it until they were killed.
 */
import type { Clock } from "../core/clock.ts";
import { describeError, isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import type { Holders } from "./holders.ts";
import type { CommitJournal } from "./journal.ts";
import { encodeNote, JOURNAL_FOLDER, type NoteKind, parseJournalName } from "./journal-files.ts";
import { contentName, makerOf } from "./names.ts";

/** Somebody who begins with a journal is noticed within this: it is made seconds before it is needed. */
const LOOK_MS = 100;
/** Time stamps of files are this coarse at the worst, on file systems worth a spool. */
const STAMP_MS = 50;

export class Removals {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #own: CommitJournal | null;
  readonly #holders: Holders;
  readonly #warn: (text: string) => void;
  #nextLookMs = Number.NEGATIVE_INFINITY;
  #others: readonly string[] = [];
  /** When the folder had last changed as it was listed; null when it must be listed again. */
  #listedMs: number | null = null;

  constructor(given: {
    readonly disk: Disk;
    readonly clock: Clock;
    readonly own: CommitJournal | null;
    readonly holders: Holders;
    readonly warn: (text: string) => void;
  }) {
    this.#disk = given.disk;
    this.#clock = given.clock;
    this.#own = given.own;
    this.#holders = given.holders;
    this.#warn = given.warn;
  }

  /**
   * "removed": before its envelope is; "kept": when that has failed. Tells, never throws: without the
   * note it may come back after a kill.
   */
  note(id: MessageId, kind: NoteKind): void {
    // Only messages that relayd has made are in a journal.
    if (makerOf(id) === null) return;
    try {
      const isNoted = this.#own?.note(id, kind) === true;
      if (!isNoted && kind === "removed") this.#mark(id);
      for (const name of this.#look()) this.#append(name, id, kind);
    } catch (error) {
      this.#warn(`cannot note the removal of ${id}: ${describeError(error)}`);
    }
  }

  /** For whoever finds content alone after we were killed. */
  #mark(id: MessageId): void {
    const content = this.#disk.stat(contentName(id));
    if (content !== null) this.#holders.removing(id, content.inode);
  }

  #append(name: string, id: MessageId, kind: NoteKind): void {
    // Opened after its owner has ended it would be made anew, and nobody would ever remove it. Links and fifos are nobody's.
    if (this.#disk.stat(name)?.kind !== "file") return;
    const file = this.#disk.journaling?.openToAppend(name);
    try {
      file?.append(encodeNote(id, kind));
    } finally {
      file?.close();
    }
  }

  /** Where others want to be told. */
  #look(): readonly string[] {
    const now = this.#clock.monotonic();
    if (now < this.#nextLookMs) return this.#others;
    this.#nextLookMs = now + LOOK_MS;
    const modifiedMs = this.#folderModifiedMs();
    if (modifiedMs !== null && modifiedMs === this.#listedMs) return this.#others;
    const own = this.#own?.notes ?? null;
    this.#others = (modifiedMs === null ? [] : this.#names())
      .filter((name) => parseJournalName(name)?.kind === "removed")
      .map((name) => `${JOURNAL_FOLDER}/${name}`)
      .filter((path) => path !== own);
    const settled = modifiedMs !== null && this.#clock.now() - modifiedMs > STAMP_MS;
    this.#listedMs = settled ? modifiedMs : null;
    return this.#others;
  }

  /** null when there is none. */
  #folderModifiedMs(): number | null {
    const facts = orNull(() => this.#disk.stat(JOURNAL_FOLDER));
    // Where it leads elsewhere nobody has a journal.
    return facts?.kind === "directory" ? facts.modifiedMs : null;
  }

  #names(): readonly string[] {
    return orNull(() => this.#disk.list(JOURNAL_FOLDER)) ?? [];
  }
}

/** Where we may not look, we may not touch the messages either: they have the same owner and rights. */
function orNull<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EACCES")) return null;
    throw error;
  }
}
