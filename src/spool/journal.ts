/**
 * The commit journal of a busy spool: one sync of an append to a file of fixed size makes many small
 * messages survive a power cut at once, while their own files, which everybody sees at once, are
 * written to the disk later, all together. Two segments take turns. docs/spool-states.md tells what
 * is replayed when.
 */
import { randomBytes } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import type { BlockFile, Journaling } from "../io/journaling.ts";
import { Demand } from "./journal-demand.ts";
import {
  encodeBatch,
  encodeDone,
  encodeHead,
  encodePut,
  PAGE_BYTES,
  pagesFor,
  recordBytes,
} from "./journal-format.ts";
import type { ProcessTable } from "./process-table.ts";

export const JOURNAL_FOLDER = ".relayd/journal";

/** When a journal pays, and how large it is. */
export interface JournalTerms {
  /** Bytes of one segment. */
  readonly segmentBytes?: number;
  /** Commits within a second from which on the journal is used. */
  readonly demand?: number;
}

export interface JournalOptions extends JournalTerms {
  readonly disk: Disk;
  readonly journaling: Journaling;
  readonly clock: Clock;
  readonly processes: ProcessTable;
}

const SEGMENT_BYTES = 16 * 1024 * 1024;
/** Larger messages gain nothing: their own sync takes longer than what it shares. */
const MAX_JOURNALED_BYTES = 256 * 1024;
/** With less room than this on the disk it is left to the mail. */
const MIN_FREE_BYTES = 512 * 1024 * 1024;
const DEMAND = 32;
/** Files are synced when they have waited so long: as long as the kernel keeps changes of a directory. */
const CHECKPOINT_MS = 5000;
/** A removal is told to the disk within this, if no commit takes it along. */
const DONE_MS = 1000;

interface Segment {
  readonly name: string;
  readonly file: BlockFile;
  /** "" while it is free. */
  generation: string;
  /** Where the next batch goes. */
  position: number;
  /** What it holds that has not been removed since. */
  readonly held: Set<MessageId>;
}

interface Batch {
  readonly records: Buffer[];
  readonly puts: MessageId[];
  bytes: number;
  readonly settle: { resolve: () => void; reject: (error: unknown) => void }[];
}

export class CommitJournal {
  readonly #options: JournalOptions;
  readonly #size: number;
  readonly #demand: Demand;
  readonly #stop = new AbortController();
  /** Messages that a segment may bring back. */
  readonly #live = new Set<MessageId>();
  #segments: "none" | "being made" | { active: Segment; spare: Segment } = "none";
  /** A failed sync is never believed again: nothing more is put in. */
  #broken = false;
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

  /** True when a message of that size may be put in now. Counts as demand. */
  takes(content: Uint8Array, envelope: Uint8Array): boolean {
    const wanted = this.#demand.risen(this.#options.clock.monotonic());
    const size = recordBytes(content, envelope);
    if (this.#broken || this.#stop.signal.aborted || size > MAX_JOURNALED_BYTES) return false;
    if (typeof this.#segments === "string") {
      if (wanted && this.#segments === "none") void this.#prepare();
      return false;
    }
    if (!wanted) return false;
    const pages = pagesFor(this.#batch.bytes + size);
    const { active, spare } = this.#segments;
    if (!this.#rotate && active.position + pages <= this.#size) return true;
    return spare.generation === "" && PAGE_BYTES + pages <= this.#size;
  }

  /** Resolves when the message would survive a power cut. Its files have their final names by now. */
  async put(id: MessageId, content: Uint8Array, envelope: Uint8Array): Promise<void> {
    this.#live.add(id);
    this.#append(encodePut(id, content, envelope)).puts.push(id);
    const settled = new Promise<void>((resolve, reject) => {
      this.#batch.settle.push({ resolve, reject });
    });
    this.#flush();
    this.#after("checkpoint", CHECKPOINT_MS, () => {
      this.#rotate = true;
      this.#flush();
    });
    await settled;
  }

  /** The message was removed: it must not come back. Costs no sync of its own. */
  done(id: MessageId): void {
    if (!this.#live.delete(id) || typeof this.#segments === "string") return;
    this.#segments.active.held.delete(id);
    this.#segments.spare.held.delete(id);
    this.#append(encodeDone(id));
    this.#after("done", DONE_MS, () => this.#flush());
  }

  /** Makes every file durable and gives the segments back. */
  async close(): Promise<void> {
    this.#stop.abort();
    while (this.#segments === "being made") await new Promise(setImmediate);
    if (this.#segments === "none") return;
    this.#rotate = true;
    this.#flush();
    await this.#work;
    await this.#checkpoint;
    const { active, spare } = this.#segments;
    for (const { name, file, generation } of [active, spare]) {
      file.close();
      // What was not given back is for the next start.
      if (generation === "") removeIfThere(this.#options.disk, name);
    }
  }

  async #prepare(): Promise<void> {
    this.#segments = "being made";
    const { disk, journaling, processes } = this.#options;
    try {
      // It tells a power cut from a mere crash.
      if (processes.home.boot === "") throw new Error("no boot id");
      if (journaling.freeBytes() < MIN_FREE_BYTES) throw new Error("little room");
      for (const folder of [".relayd", JOURNAL_FOLDER]) makeFolder(disk, folder);
      const active = await this.#newSegment("a");
      const spare = await this.#newSegment("b");
      // The segments and their names too; and where this does not work they could never be given back.
      await journaling.syncAll();
      this.#segments = { active, spare };
    } catch {
      // Every message is synced by itself, as without a journal.
      this.#broken = true;
      this.#segments = "none";
    }
  }

  async #newSegment(letter: string): Promise<Segment> {
    const { disk, journaling, processes } = this.#options;
    const owner = `${processes.pid}.${processes.startOf(processes.pid) ?? "0"}`;
    for (let n = 0; ; n++) {
      const name = `${JOURNAL_FOLDER}/${owner}.${n}${letter}`;
      if (disk.stat(name) !== null && n < 100) continue; // Another store of this process.
      const file = await journaling.preallocate(name, this.#size);
      file.write(this.#head(randomBytes(8).toString("hex"), "free"), 0);
      return { name, file, generation: "", position: PAGE_BYTES, held: new Set() };
    }
  }

  #append(record: Buffer): Batch {
    this.#batch.records.push(record);
    this.#batch.bytes += record.length;
    return this.#batch;
  }

  #flush(): void {
    if (this.#working) return;
    this.#working = true;
    this.#work = this.#writeAll();
  }

  /** One batch at a time: those who come meanwhile share the next one. */
  async #writeAll(): Promise<void> {
    // Whoever was read in the same turn of the event loop is taken along.
    await new Promise(setImmediate);
    while (this.#rotate || this.#batch.records.length > 0) {
      if (this.#rotate || !this.#fits()) await this.#turn();
      const batch = this.#batch;
      this.#batch = newBatch();
      if (batch.records.length === 0) continue;
      try {
        await this.#write(batch);
        for (const { resolve } of batch.settle) resolve();
      } catch (error) {
        for (const { reject } of batch.settle) reject(error);
        await this.#giveUp();
      }
    }
    this.#working = false;
  }

  #fits(): boolean {
    if (typeof this.#segments === "string") return true;
    return this.#fitsInto(this.#segments.active, this.#batch);
  }

  #fitsInto(segment: Segment, batch: Batch): boolean {
    return segment.position + pagesFor(batch.bytes) <= this.#size;
  }

  #head(generation: string, state: "free" | "used"): Buffer {
    return encodeHead({ ...this.#options.processes.home, generation, state });
  }

  async #write(batch: Batch): Promise<void> {
    if (typeof this.#segments === "string") throw new Error("Unreachable: no segments");
    const { active } = this.#segments;
    if (this.#broken && batch.puts.length > 0) throw new Error("The journal has failed");
    if (!this.#fitsInto(active, batch)) throw new Error("The journal is full");
    if (active.generation === "") {
      // Without its name nobody would find it after a power cut.
      if (!active.file.hasName()) throw new Error("The journal has been removed");
      active.generation = randomBytes(8).toString("hex");
      active.file.write(this.#head(active.generation, "used"), 0);
    }
    for (const id of batch.puts) if (this.#live.has(id)) active.held.add(id);
    active.file.write(encodeBatch(active.generation, batch.records), active.position);
    active.position += pagesFor(batch.bytes);
    await active.file.sync();
  }

  /** The spare segment becomes the active one; the other is given back when its messages are on disk. */
  async #turn(): Promise<void> {
    this.#rotate = false;
    await this.#checkpoint;
    if (typeof this.#segments === "string") return;
    const { active, spare } = this.#segments;
    if (active.generation === "" || spare.generation !== "") return;
    this.#segments = { active: spare, spare: active };
    this.#checkpoint = this.#giveBack(active).finally(() => {
      this.#checkpoint = null;
    });
  }

  /**
   * The order is the promise: first everything that it could bring back is on disk, or its removal
   * is; only then the segment is declared empty, and only when that is on disk it is used again.
   */
  async #giveBack(segment: Segment): Promise<void> {
    const { disk, journaling } = this.#options;
    const { generation } = segment;
    try {
      if (segment.held.size === 0) await disk.syncDirectory();
      else await journaling.syncAll();
      segment.file.write(this.#head(generation, "free"), 0);
      await segment.file.sync();
    } catch {
      // It keeps what it has: after a power cut it is the only copy that can be believed.
      this.#broken = true;
      return;
    }
    for (const id of segment.held) this.#live.delete(id);
    segment.held.clear();
    segment.position = PAGE_BYTES;
    segment.generation = "";
  }

  /** After a failed sync no message is put in any more; those that are in are written to the disk as files. */
  async #giveUp(): Promise<void> {
    this.#broken = true;
    await this.#checkpoint;
    if (typeof this.#segments === "string") return;
    for (const segment of [this.#segments.active, this.#segments.spare]) {
      if (segment.generation !== "") await this.#giveBack(segment);
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

function newBatch(): Batch {
  return { records: [], puts: [], bytes: 0, settle: [] };
}

function makeFolder(disk: Disk, folder: string): void {
  try {
    disk.makeDirectory(folder);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
}

export function removeIfThere(disk: Disk, name: string): void {
  try {
    disk.remove(name);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}
