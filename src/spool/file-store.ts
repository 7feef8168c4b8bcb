/** Store over a directory, shared with E-MailRelay: the same names, the same formats, the same locks. */
import type { Clock } from "../core/clock.ts";
import { describeError, isErrno } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { MessageEditor } from "../core/message-editor.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Draft, Lease, Store } from "../core/store.ts";
import type { Disk, DiskFile } from "../io/disk.ts";
import { nodeDisk } from "../io/node-disk.ts";
import { checkSpool, warnIfUnwritable } from "./check-spool.ts";
import { SharedSync } from "./commit.ts";
import { Delivered } from "./delivered.ts";
import { type DraftHouse, FileDraft } from "./draft.ts";
import { FileEditor } from "./editor.ts";
import { Fresh, type Remembered } from "./fresh.ts";
import { GivenUp } from "./given-up.ts";
import { type Holders, noOtherHolders, openHolders } from "./holders.ts";
import type { CommitJournal, JournalTerms } from "./journal.ts";
import type { NoteKind } from "./journal-files.ts";
import { FileLease, type LeaseEnd, type LeaseHouse } from "./lease.ts";
import { badName, envelopeName, idBefore, NameMaker } from "./names.ts";
import { makeContent } from "./new-content.ts";
import { openCommitJournal } from "./open-commit-journal.ts";
import { SpoolPlace } from "./place.ts";
import { type ProcessTable, systemProcesses } from "./process-table.ts";
import { Queue } from "./queue.ts";
import { type Recovery, recover } from "./recover.ts";
import { Removals } from "./removals.ts";
import { Replay } from "./replay.ts";
import { Reserved } from "./reserved.ts";
import { storageError } from "./storage-errors.ts";
import { type Locked, Taker } from "./take.ts";

export interface FileStoreOptions {
  readonly directory: string;
  /** False for --no-sync: accepted mail may be lost in a power cut. */
  readonly sync: boolean;
  /** True for --shared-spool. */
  readonly shared: boolean;
  /** Follow changes from outside as they happen. */
  readonly watch?: boolean;
  /** False for a program that only adds messages: nothing is listed or put right at the start. */
  readonly recover?: boolean;
  readonly journal: Journal;
  readonly clock: Clock;
  /** Another disk than the directory's own; no other process can see that one. */
  readonly disk?: Disk;
  readonly processes?: ProcessTable;
  /** How the journal of commits is used; absent (--no-commit-journal): each message is synced by itself. */
  readonly commits?: JournalTerms;
}

/** Opens a spool and puts right what a crash has left in it. Throws SPOOL_INVALID, SPOOL_IO. */
export async function openFileStore(options: FileStoreOptions): Promise<FileStore> {
  const disk = options.disk ?? nodeDisk(options.directory);
  checkSpool(disk);
  const store = new FileStore(options, disk);
  if (options.disk === undefined) {
    warnIfUnwritable(options.directory, (text) => warn(options.journal, text));
  }
  if (options.recover ?? true) {
    await store.replay();
    await store.recover();
  }
  if (options.watch ?? false) await store.watch();
  return store;
}

export class FileStore implements Store {
  /** For the filters that are part of the program. */
  readonly editor: MessageEditor;
  readonly #options: FileStoreOptions;
  readonly #disk: Disk;
  readonly #directory: SharedSync | null;
  readonly #commits: CommitJournal | null;
  readonly #closing = new AbortController();
  readonly #processes: ProcessTable;
  readonly #holders: Holders;
  readonly #queue: Queue;
  readonly #taker: Taker;
  readonly #names: NameMaker;
  readonly #drafts = new Set<MessageId>();
  readonly #leases = new Set<MessageId>();
  readonly #givenUp: GivenUp;
  /** What recovery could not put right, and why. */
  readonly #unrecovered = new Map<string, string>();
  readonly #delivered: Delivered;
  readonly #removals: Removals;
  readonly #replay: Replay;
  readonly #fresh: Fresh;
  readonly #reserved: Reserved;
  readonly #draftHouse: DraftHouse;
  readonly #leaseHouse: LeaseHouse;
  #unsynced = false;
  #recovered = false;

  constructor(options: FileStoreOptions, disk: Disk) {
    const { clock, journal, directory: spool } = options;
    const tellWarning = (text: string) => warn(journal, text);
    this.#options = options;
    this.#disk = disk;
    this.#directory = options.sync ? new SharedSync(disk) : null;
    this.#processes = options.processes ?? systemProcesses();
    this.#commits = openCommitJournal(options, disk, this.#processes);
    this.#names = new NameMaker(this.#processes.pid);
    this.#holders =
      options.disk === undefined
        ? openHolders({ spool, clock, processes: this.#processes, warn: tellWarning })
        : noOtherHolders;
    const inHand = (id: MessageId) => this.#inHand(id);
    const reserved = () => [...this.#reserved.ids()].filter((id) => !this.#drafts.has(id));
    const place = new SpoolPlace(disk);
    this.#queue = new Queue({ disk, place, clock, inHand, reserved, warn: tellWarning });
    this.#fresh = new Fresh(clock);
    this.#reserved = new Reserved({ disk, place, clock, onLost: (...lost) => this.#lose(...lost) });
    this.#givenUp = new GivenUp(disk, place, clock);
    const removed = (id: MessageId) => this.#commits?.removed(id);
    this.#delivered = new Delivered({ disk, place, clock, removed });
    const journals = { own: this.#commits, holders: this.#holders };
    this.#removals = new Removals({ disk, clock, ...journals, warn: tellWarning });
    this.#replay = new Replay({
      ...{ disk, clock, journal, processes: this.#processes, signal: this.#closing.signal },
      onDone: () => this.#queue.hint(),
    });
    this.#taker = new Taker(disk, tellWarning);
    this.#draftHouse = {
      ...{ disk, clock },
      directory: this.#directory,
      journal: this.#commits,
      reserved: this.#commits === null ? null : this.#reserved,
      onLeft: (id, names) => this.#delivered.add(id, names),
      remembers: () => this.#reserved.isUsed,
      onEnd: (id, committed, written) => {
        const wanted = committed && !this.#reserved.has(id);
        if (wanted && written !== null) this.#fresh.add(id, written);
        this.#endDraft(id, committed);
      },
    };
    this.#leaseHouse = {
      ...{ disk, place, journal },
      directory: this.#directory,
      removing: (id) => this.noteRemoval(id, "removed"),
      onEnd: (...ended) => this.#endLease(...ended),
    };
    this.editor = new FileEditor({
      disk,
      directory: this.#directory,
      clock,
      pid: this.#processes.pid,
      newContent: (make) => this.#newContent(make),
      noteRemoval: (id, kind) => this.noteRemoval(id, kind),
      end: (id, queued) => this.#endDraft(id, queued),
    });
  }

  readonly #nextId = () => this.#names.next(this.#options.clock.now());
  readonly #createFile = (name: string): DiskFile => this.#disk.create(name);

  async create(): Promise<Draft> {
    this.#delivered.remove();
    const { id, made: content } = this.#newContent(this.#createFile);
    return new FileDraft(this.#draftHouse, id, content);
  }

  async ready(asked = false): Promise<readonly MessageId[]> {
    if (this.#replay.isPending) return this.#replay.nothingYet(asked);
    this.#delivered.remove();
    if (this.#givenUp.isDue() || this.#holders.bereaved()) await this.recover();
    return await this.#queue.ready(asked);
  }

  announce(ids: readonly MessageId[]): void {
    this.#taker.announce(ids);
  }

  async lease(id: MessageId): Promise<Lease | null> {
    this.#holders.enter("forwarder");
    if (this.#replay.isPending || this.#drafts.has(id)) return null;
    this.#reserved.active();
    const known = this.#reserved.take(id);
    if (this.#inHand(id)) return null;
    this.#leases.add(id);
    if (known !== null) this.#queue.delete(id);
    const taken =
      known === null
        ? this.#take(id, this.#fresh.take(id))
        : { envelope: known.said, content: known.content, place: known.place };
    return taken === null ? null : new FileLease(this.#leaseHouse, { id, ...taken });
  }

  /** For those who remove a message in another way than by a lease: before its envelope goes, and when it did not. Tells, never throws. */
  noteRemoval(id: MessageId, kind: NoteKind): void {
    this.#removals.note(id, kind);
  }

  changes(signal: AbortSignal): AsyncIterable<void> {
    return this.#queue.changes(signal);
  }

  /** Lists the directory now, for when something is known to have changed. Tells, never throws. */
  async rescan(): Promise<void> {
    try {
      this.list();
    } catch (error) {
      warn(this.#options.journal, describeError(error));
    }
  }

  /** Makes whole what the journal has of messages that a power cut has torn. Before anything else; tells, never throws. */
  async replay(): Promise<void> {
    await this.#replay.run();
  }

  /** Puts right what a crash has left: at the start and at each poll. Tells, never throws. */
  async recover(): Promise<readonly Recovery[]> {
    const { journal, clock, shared } = this.#options;
    const atStart = !this.#recovered;
    this.#recovered = true;
    this.#holders.enter();
    try {
      const names = this.#queue.list();
      if (atStart) this.#names.passOver(names);
      if (atStart && this.#holders.hasNamesake()) this.#names.startApart();
      const found = recover(
        {
          disk: this.#disk,
          holders: this.#holders,
          processes: this.#processes,
          inHand: (id) => this.#inHand(id),
          givenUp: this.#givenUp,
          atStart,
          shared,
          replayed: this.#replay.isComplete,
          nowMs: clock.now(),
          warn: (text) => warn(journal, text),
          told: this.#unrecovered,
        },
        names,
      );
      for (const { id, action } of found) journal.tell({ kind: "spool.recovered", id, action });
      if (found.length > 0) this.list();
      return found;
    } catch (error) {
      warn(journal, describeError(storageError(error, "recover", this.#disk.directory)));
      return [];
    }
  }

  /** Lists the directory. Throws SPOOL_IO. */
  list(): void {
    this.#queue.list();
  }

  async watch(): Promise<void> {
    await this.#queue.watch();
  }

  /** Ids that were set aside, sorted. Throws SPOOL_IO. */
  failures(): readonly MessageId[] {
    try {
      const ids = this.#disk.list().map((name) => idBefore(".envelope.bad", name));
      return ids.filter((id) => id !== null).sort();
    } catch (error) {
      throw storageError(error, "list", this.#disk.directory);
    }
  }

  /** Puts a message that was set aside back in the queue; false when it is not there or waits already. */
  unfail(id: MessageId): boolean {
    if (this.#inHand(id) || this.#disk.stat(envelopeName(id)) !== null) return false;
    try {
      this.#disk.rename(badName(id), envelopeName(id));
    } catch (error) {
      if (isErrno(error, "ENOENT")) return false;
      throw storageError(error, "rename", badName(id));
    }
    this.#queue.add(id);
    return true;
  }

  /** Ends cleanly: what was delivered does not come back, and nobody takes us for a crashed holder. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#reserved.close();
    this.#delivered.remove({ last: true });
    await this.#queue.close();
    await this.#commits?.close();
    if (this.#unsynced) {
      await this.#directory?.flush().catch((error: unknown) => {
        warn(this.#options.journal, describeError(error));
      });
    }
    await this.#holders.leave();
  }

  /** It is a draft's until `#endDraft`. */
  #newContent<T>(make: (name: string) => T): { id: MessageId; made: T } {
    const found = makeContent(this.#disk, this.#nextId, make);
    this.#drafts.add(found.id);
    return found;
  }

  #endDraft(id: MessageId, queued: boolean): void {
    this.#drafts.delete(id);
    if (queued) this.#queue.add(id);
  }

  #endLease(id: MessageId, end: LeaseEnd, place: string | null): void {
    this.#leases.delete(id);
    if (end === "completed") this.#commits?.removed(id);
    if (end === "released") this.#queue.add(id);
    // Somebody may have put it back before we were done.
    if (end === "failed") this.#queue.lookAt(id);
    if (end === "completed") this.#unsynced = true;
    if (end === "lost") this.#lose(id, place);
    if (end === "delivered") this.#delivered.add(id, undefined, place);
  }

  #lose(id: MessageId, place: string | null): void {
    this.#queue.delete(id);
    this.#givenUp.add(id, place ?? undefined);
  }

  #inHand(id: MessageId): boolean {
    if (this.#drafts.has(id) || this.#leases.has(id)) return true;
    return this.#delivered.has(id) || this.#reserved.has(id);
  }

  /** null when it is not ours; then it is not in hand either. */
  #take(id: MessageId, fresh: Remembered | null): Locked | null {
    let taken: Locked | null = null;
    try {
      const result = this.#taker.take(id, fresh, this.#queue.isPlain(id));
      if (result.kind === "taken") taken = result;
      if (result.kind !== "unusable") this.#queue.delete(id);
    } catch (error) {
      // Its lock may be there, and could not be taken back: the next recovery looks.
      this.#givenUp.add(id);
      throw error;
    } finally {
      if (taken === null) this.#leases.delete(id);
    }
    return taken;
  }
}

function warn(journal: Journal, text: string): void {
  journal.tell({ kind: "note", level: "warning", detail: false, text });
}
