/**
 * Tells the commit journals of a spool that a message is about to be removed: those of this store,
 * and of other processes that serve the same spool, or served it until they were killed.
 */
import type { Clock } from "../core/clock.ts";
import { describeError, isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import type { CommitJournal } from "./journal.ts";
import { encodeNote, JOURNAL_FOLDER, parseJournalName } from "./journal-files.ts";
import { makerOf } from "./names.ts";

/** Time stamps of files are this coarse at the worst, on file systems worth a spool. */
const STAMP_MS = 50;

export class Removals {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #own: CommitJournal | null;
  readonly #warn: (text: string) => void;
  #listed = { modifiedMs: Number.NaN, others: [] as readonly string[] };

  constructor(given: {
    readonly disk: Disk;
    readonly clock: Clock;
    readonly own: CommitJournal | null;
    readonly warn: (text: string) => void;
  }) {
    this.#disk = given.disk;
    this.#clock = given.clock;
    this.#own = given.own;
    this.#warn = given.warn;
  }

  /** Before its envelope is removed. Tells, never throws: without the note it may come back after a kill. */
  note(id: MessageId): void {
    // Only messages that relayd has made are in a journal.
    if (makerOf(id) === null) return;
    try {
      this.#own?.removing(id);
      for (const name of this.#others()) this.#append(name, id);
    } catch (error) {
      this.#warn(`cannot note the removal of ${id}: ${describeError(error)}`);
    }
  }

  #append(name: string, id: MessageId): void {
    const file = this.#disk.journaling?.openToAppend(name);
    try {
      file?.append(encodeNote(id));
    } finally {
      file?.close();
    }
  }

  /** Where others want to be told. */
  #others(): readonly string[] {
    const modifiedMs = this.#folderModifiedMs();
    if (modifiedMs === null) return [];
    if (modifiedMs === this.#listed.modifiedMs) return this.#listed.others;
    const own = this.#own?.notes ?? null;
    const others = this.#disk
      .list(JOURNAL_FOLDER)
      .filter((name) => parseJournalName(name)?.kind === "removed")
      .map((name) => `${JOURNAL_FOLDER}/${name}`)
      .filter((path) => path !== own);
    const settled = this.#clock.now() - modifiedMs > STAMP_MS;
    this.#listed = { modifiedMs: settled ? modifiedMs : Number.NaN, others };
    return others;
  }

  /** null when there is no journal. */
  #folderModifiedMs(): number | null {
    try {
      return this.#disk.stat(JOURNAL_FOLDER)?.modifiedMs ?? null;
    } catch (error) {
      if (isErrno(error, "ENOTDIR")) return null;
      throw error;
    }
  }
}
