/**
 * The commit journal of a busy spool: one sync of an append to a file of fixed size makes many small
 * messages survive a power cut at once, while their own files, which everybody sees at once, are
 * written to the disk later, all together. Two segments take turns. docs/spool-states.md tells what
 * is replayed when.
 */
import type { Clock } from "../core/clock.ts";
import { describeError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import type { Journaling } from "../io/journaling.ts";
import type { Written } from "./fresh.ts";
import { append, type Batch, newBatch } from "./journal-batch.ts";
import { Demand } from "./journal-demand.ts";
import { type NoteKind, SEGMENT_BYTES } from "./journal-files.ts";
import {
  encodeBatch,
  encodeDone,
  encodePut,
  PAGE_BYTES,
  pagesFor,
  recordBytes,
} from "./journal-format.ts";
import { JournalFiles, newGeneration, type Segment } from "./journal-segments.ts";
import type { ProcessTable } from "./process-table.ts";

/** When a journal pays, and how large it is. */
export interface JournalTerms {
  /** Bytes of one segment, SEGMENT_BYTES at most. */
  readonly segmentBytes?: number;
  /** Commits within a second from which on the journal is used. */
  readonly demand?: number;
}

export interface JournalOptions extends JournalTerms {
  readonly disk: Disk;
  readonly journaling: Journaling;
  readonly clock: Clock;
  readonly processes: ProcessTable;
  /** For the operator. */
  readonly warn: (text: string) => void;
}

/** Larger content gains nothing: its own sync takes longer than what it shares. */
const MAX_JOURNALED_BYTES = 256 * 1024;
const DEMAND = 32;
/** Files are synced when they have waited so long: as long as the kernel keeps changes of a directory. */
const CHECKPOINT_MS = 5000;
/** A removal is told to the disk within this, if no commit takes it along. */
const DONE_MS = 1000;
/** Turns of the event loop before a sync. */
const GATHER_TURNS = 16;
/** Of a segment, kept from what one batch may fill. */
const DONE_SHARE = 1 / 16;

export class CommitJournal {
  readonly #options: JournalOptions;
  readonly #size: number;
  readonly #demand: Demand;
  readonly #stop = new AbortController();
  /** Messages that a segment may bring back. */
  readonly #live = new Set<MessageId>();
  #files: "none" | "being made" | JournalFiles = "none";
  /** A failed sync is never believed again: nothing more is put in. */
  #broken = false;
  /** Files that could not be synced are not believed either: what is in a segment stays there. */
  #keepsAll = false;
  #batch = newBatch();
  #working = false;
  #work: Promise<void> = Promise.resolve();
  #checkpoint: Promise<void> | null = null;
  #rotate = false;
  #timed = { checkpoint: false, done: false };

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#size = options.segmentBytes ?? SEGMENT_BYTES;
    this.#demand = new Demand(options.demand ?? DEMAND);
  }

  /** True when it has been used lately, and a large message whose content is synced first is likely to be taken. */
  get takesLarge(): boolean {
    if (this.#broken || typeof this.#files === "string" || !this.#files.syncsNames) return false;
    return this.#demand.isUp(this.#options.clock.monotonic());
  }

  /**
   * True when a message of that size may be put in now: one whose content only its file has, if that was synced
   * before, by `takesLarge`. Counts as demand.
   */
  takes(written: Written, synced: boolean): boolean {
    const wanted = this.#demand.risen(this.#options.clock.monotonic());
    const size = recordBytes(written);
    if (this.#broken || this.#stop.signal.aborted || size > MAX_JOURNALED_BYTES) return false;
    if (typeof this.#files === "string") {
      if (wanted && this.#files === "none") void this.#prepare();
      return false;
    }
    if (!wanted || (written.content === null && !synced)) return false;
    const pages = pagesFor(this.#batch.bytes + size);
    // Messages that are removed before it is written add to it.
    if (PAGE_BYTES + pages > this.#size * (1 - DONE_SHARE)) return false;
    const { active, spare } = this.#files;
    if (!this.#rotate && active.position + pages <= this.#size) return true;
    return spare.generation === "";
  }

  /**
   * Resolves when the message would survive a power cut; the envelope is to have its final name at once then. Content
   * that only its file has must be on disk before.
   */
  async put(id: MessageId, written: Written): Promise<void> {
    this.#live.add(id);
    append(this.#batch, encodePut(id, written)).puts.push(id);
    const settled = new Promise<void>((resolve, reject) => {
      this.#batch.settle.push({ resolve, reject });
    });
    this.#flush();
    await settled;
  }

  /** The file with our notes about removals; null when there is none. */
  get notes(): string | null {
    if (typeof this.#files === "string") return null;
    return this.#files.notes;
  }

  /** What is removed must not come back after a kill. False when no segment has the message. Throws ENOSPC ... */
  note(id: MessageId, kind: NoteKind): boolean {
    if (typeof this.#files === "string" || !this.#live.has(id)) return false;
    this.#files.note(id, kind);
    return true;
  }

  /** The message was removed: after a power cut it should not come back. Costs no sync of its own. */
  removed(id: MessageId): void {
    if (!this.#live.delete(id) || typeof this.#files === "string") return;
    this.#files.active.held.delete(id);
    this.#files.spare.held.delete(id);
    append(this.#batch, encodeDone(id));
    this.#after("done", DONE_MS, () => this.#flush());
  }

  /** The message was put in, and is not to be accepted after all. */
  takeBack(id: MessageId): void {
    this.#noteQuietly(id);
    this.removed(id);
  }

  /** Makes every file durable and gives the segments back. */
  async close(): Promise<void> {
    this.#stop.abort();
    while (this.#files === "being made") await new Promise(setImmediate);
    if (this.#files === "none") return;
    this.#rotate = true;
    this.#flush();
    await this.#work;
    await this.#checkpoint;
    this.#files.close();
  }

  async #prepare(): Promise<void> {
    this.#files = "being made";
    try {
      this.#files = await JournalFiles.make(this.#options, this.#size);
    } catch {
      // Every message is synced by itself, as without a journal.
      this.#broken = true;
      this.#files = "none";
    }
  }

  #goOn(): void {
    this.#rotate = true;
    this.#flush();
  }

  #flush(): void {
    if (this.#working) return;
    this.#working = true;
    this.#work = this.#writeAll();
  }

  /** One batch at a time: those who come meanwhile share the next one. */
  async #writeAll(): Promise<void> {
    while (this.#rotate || this.#batch.records.length > 0) {
      await gather();
      if (this.#rotate || !this.#fits()) await this.#turn();
      const batch = this.#batch;
      this.#batch = newBatch();
      if (batch.records.length === 0) continue;
      await this.#settle(batch);
    }
    this.#working = false;
  }

  async #settle(batch: Batch): Promise<void> {
    try {
      await this.#write(batch);
      for (const { resolve } of batch.settle) resolve();
    } catch (error) {
      // Nobody is told that they were accepted, and some of them may be in the journal all the same.
      for (const id of batch.puts) this.#noteQuietly(id);
      for (const { reject } of batch.settle) reject(error);
      this.#break(error);
      await this.#giveUp();
    }
  }

  #noteQuietly(id: MessageId): void {
    try {
      this.note(id, "removed");
    } catch {
      // Then it may come back, as mail does whose client has not heard the answer.
    }
  }

  #fits(): boolean {
    if (typeof this.#files === "string") return true;
    return this.#fitsInto(this.#files.active, this.#batch);
  }

  #fitsInto(segment: Segment, batch: Batch): boolean {
    return segment.position + pagesFor(batch.bytes) <= this.#size;
  }

  async #write(batch: Batch): Promise<void> {
    if (typeof this.#files === "string") throw new Error("Unreachable: no segments");
    const files = this.#files;
    const { active } = files;
    if (this.#broken && batch.puts.length > 0) throw new Error("The journal has failed");
    if (!this.#fitsInto(active, batch)) throw new Error("The journal is full");
    if (active.generation === "") {
      active.generation = newGeneration();
      files.writeHead(active, active.generation, "used");
    }
    for (const id of batch.puts) if (this.#live.has(id)) active.held.add(id);
    // Not when it was put: the time may be up while it waits, and then the segment before it is given back.
    if (batch.puts.length > 0) this.#after("checkpoint", CHECKPOINT_MS, () => this.#goOn());
    active.file.write(encodeBatch(active.generation, batch.records), active.position);
    active.position += pagesFor(batch.bytes);
    await active.file.sync();
    // Without its name nobody would find it after a power cut: removed, or gone with the whole spool, these messages' content too.
    if (!files.isThere(active)) throw new Error("The journal has been removed");
  }

  /** The spare segment becomes the active one; the other is given back when its messages are on disk. */
  async #turn(): Promise<void> {
    this.#rotate = false;
    await this.#checkpoint;
    const files = this.#files;
    if (typeof files === "string") return;
    const { active, spare } = files;
    if (active.generation === "" || spare.generation !== "") return;
    files.turn();
    this.#checkpoint = this.#giveBack(files, active).finally(() => {
      this.#checkpoint = null;
    });
  }

  /**
   * The order is the promise: first everything that it could bring back is on disk, or its removal
   * is; only then the segment is declared empty, and only when that is on disk it is used again.
   */
  async #giveBack(files: JournalFiles, segment: Segment): Promise<void> {
    const { disk, journaling } = this.#options;
    const { generation } = segment;
    // Whoever was told that his message is safe gives it its name in this turn of the event loop.
    await new Promise(setImmediate);
    if (this.#keepsAll) return;
    try {
      if (segment.held.size === 0) await disk.syncDirectory();
      else await journaling.syncAll();
      files.writeHead(segment, generation, "free");
      await segment.file.sync();
    } catch (error) {
      this.#keep(files);
      this.#break(error);
      return;
    }
    for (const id of segment.held) this.#live.delete(id);
    segment.held.clear();
    segment.position = PAGE_BYTES;
    segment.generation = "";
  }

  /**
   * The kernel tells once of bytes that it could not write, and has them in memory as if they were on disk: a second
   * sync says that all is well. So both segments stay for the next start, which is not to believe files that look
   * whole. Only those in memory may do so wrongly: the mark needs no sync.
   */
  #keep(files: JournalFiles): void {
    this.#keepsAll = true;
    for (const segment of [files.active, files.spare]) {
      if (segment.generation === "") continue;
      try {
        files.writeHead(segment, segment.generation, "doubted");
      } catch {
        // The segment stays all the same.
      }
    }
  }

  #break(error: unknown): void {
    if (!this.#broken) {
      const why = describeError(error);
      this.#options.warn(`journal failed, each message is synced by itself from now on: ${why}`);
    }
    this.#broken = true;
  }

  /** After a failed sync no message is put in any more; those that are in are written to the disk as files. */
  async #giveUp(): Promise<void> {
    await this.#checkpoint;
    const files = this.#files;
    if (typeof files === "string") return;
    for (const segment of [files.active, files.spare]) {
      if (segment.generation !== "") await this.#giveBack(files, segment);
    }
  }

  #after(what: "checkpoint" | "done", ms: number, act: () => void): void {
    if (this.#timed[what]) return;
    this.#timed[what] = true;
    const { clock } = this.#options;
    const ring = () => {
      this.#timed[what] = false;
      if (!this.#stop.signal.aborted) act();
    };
    clock.sleep(ms, this.#stop.signal).then(ring, ring);
  }
}

/**
 * Whoever is about to have sent a message is taken along: a sync costs more than waiting for them. Where
 * nothing happens meanwhile, these turns of the event loop take no time.
 */
async function gather(): Promise<void> {
  for (let turn = 0; turn < GATHER_TURNS; turn++) await new Promise(setImmediate);
}
