/** Replays the journal at the start, and again until nothing of it is left; says whether mail may be forwarded meanwhile. */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { describeError, isErrno, RelayError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { Disk } from "../io/disk.ts";
import { type Claimed, ORPHAN_MS, replayJournal } from "./journal-replay.ts";
import type { ProcessTable } from "./process-table.ts";
import { storageError } from "./storage-errors.ts";

export interface ReplayTerms {
  readonly disk: Disk;
  readonly processes: ProcessTable;
  readonly clock: Clock;
  readonly journal: Journal;
  /** Ends the attempts. */
  readonly signal: AbortSignal;
  /** Called when an attempt has succeeded after one that failed: mail may be forwarded now. */
  readonly onDone: () => void;
}

/** A full disk may have room again at any time. */
const RETRY_MS = 5000;

export class Replay {
  readonly #terms: ReplayTerms;
  readonly #claimed: Claimed = { paths: new Set(), doubted: false };
  #isPending = false;
  #isComplete = false;
  #told = "";
  /** Files that were named in a warning. */
  readonly #named = new Set<string>();

  constructor(terms: ReplayTerms) {
    this.#terms = terms;
  }

  /** True while messages may be torn that the journal has whole: none may be sent. */
  get isPending(): boolean {
    return this.#isPending;
  }

  /** What may be forwarded while it is pending. Throws SPOOL_IO for who `asked` in person: there may well be mail. */
  nothingYet(asked: boolean): readonly [] {
    if (asked) throw new RelayError("SPOOL_IO", this.#terms.disk.directory, this.#told);
    return [];
  }

  /** False while content that lies alone may belong to an envelope that a journal has, also in one that is damaged or that we may not read. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Makes whole what the journal has of messages that a power cut has torn. Tells, never throws. */
  async run(): Promise<void> {
    const { disk, processes, clock, journal } = this.#terms;
    const { journaling } = disk;
    this.#isComplete = journaling === undefined;
    if (journaling === undefined) return;
    const action = "restored from the journal";
    try {
      const { left, unreadable, damaged, tooLarge } = await replayJournal({
        ...{ disk, journaling, processes, clock, claimed: this.#claimed },
        onRestored: (id) => journal.tell({ kind: "spool.recovered", id, action }),
      });
      const [first] = unreadable;
      this.#tell(first === undefined ? "" : `cannot replay "${first}": permission denied`);
      for (const path of damaged) this.#tellDamaged(path);
      for (const path of tooLarge) this.#tellTooLarge(path);
      if (left || first !== undefined) void this.#later(ORPHAN_MS);
      const wasPending = this.#isPending;
      this.#isPending = false;
      const isRead = first === undefined && damaged.length === 0 && tooLarge.length === 0;
      this.#isComplete = !left && isRead;
      if (wasPending) this.#terms.onDone();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const { directory } = this.#terms.disk;
    const why = describeError(storageError(error, "replay", directory));
    // Where the folder may not be read, the messages that are in its journals may not be read either. What was
    // claimed could be read: its messages may be torn, whatever is in the way now.
    this.#isPending = this.#claimed.paths.size > 0 || !isErrno(error, "EACCES", "EPERM");
    this.#tell(
      this.#isPending ? `no mail is forwarded until the journal is replayed: ${why}` : why,
    );
    void this.#later(this.#isPending ? RETRY_MS : ORPHAN_MS);
  }

  /** Each trouble once. */
  #tell(text: string): void {
    if (text !== "" && text !== this.#told) this.#warn(text);
    this.#told = text;
  }

  #tellTooLarge(path: string): void {
    const where = join(this.#terms.disk.directory, path);
    this.#warnOnce(path, `ignoring "${where}": larger than any journal of relayd`);
  }

  #tellDamaged(path: string): void {
    const lost = "accepted messages may be missing, and delivered ones may be sent again";
    const kept = "while it is there, content without an envelope is kept";
    this.#warnOnce(path, `damaged journal set aside as "${path}": ${lost}; ${kept}`);
  }

  /** By each process that comes across it: it stays until an operator has looked. */
  #warnOnce(path: string, text: string): void {
    if (this.#named.has(path)) return;
    this.#named.add(path);
    this.#warn(text);
  }

  #warn(text: string): void {
    this.#terms.journal.tell({ kind: "note", level: "warning", detail: false, text });
  }

  async #later(ms: number): Promise<void> {
    const { signal, clock } = this.#terms;
    await clock.sleep(ms, signal).catch(() => undefined);
    if (!signal.aborted) await this.run();
  }
}
