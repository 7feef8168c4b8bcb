/** A message being received: content first, then its envelope, then `commit()`; disposed before that, it never was. */
import type { Clock } from "../core/clock.ts";
import { type Envelope, MAX_ENVELOPE_BYTES } from "../core/envelope.ts";
import { isErrno, RelayError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Draft, MessageFiles } from "../core/store.ts";
import type { Disk, DiskFile } from "../io/disk.ts";
import { type Progress, publish, publishJournaled, type SharedSync } from "./commit.ts";
import { copyIfUsual, decodeEnvelope, encodeEnvelope } from "./envelope-format.ts";
import { type Remembered, type Stamps, stampOf, type Written } from "./fresh.ts";
import type { CommitJournal } from "./journal.ts";
import { contentName, newName } from "./names.ts";
import type { Reserved } from "./reserved.ts";
import { spoolFiles } from "./spool-files.ts";
import { storageError } from "./storage-errors.ts";

/** Bytes that are gathered before they are written: small messages need one call, large ones few. */
const GATHER_BYTES = 256 * 1024;
/** A message that took longer is looked for before it is committed. */
const PROMPT_MS = 100;

/** What the drafts of a store share: functions made for each of them would be compiled over and over. */
export interface DraftHouse {
  readonly disk: Disk;
  /** Tells which message was there at once. Absent: none was. */
  readonly clock?: Pick<Clock, "monotonic">;
  /** null for --no-sync. */
  readonly directory: SharedSync | null;
  /** Absent or null: every message is synced by itself. */
  readonly journal?: CommitJournal | null;
  /** Where what is committed through the journal may be reserved; there is one if there is a journal. */
  readonly reserved?: Reserved | null;
  /** Called with the names of files that could not be removed, the first of them first. Absent: they are left to recovery. */
  readonly onLeft?: (id: MessageId, names: readonly string[]) => void;
  /** True when a forwarder may take it at once, so that it is worth while to remember what its files hold; absent: never. */
  readonly remembers?: () => boolean;
  /** Called once for each; true when the message is in the queue now; `written`: what its files hold, if that is to be remembered. */
  readonly onEnd: (id: MessageId, committed: boolean, written: Remembered | null) => void;
}

export class FileDraft implements Draft {
  readonly id: MessageId;
  readonly #house: DraftHouse;
  readonly #disk: Disk;
  readonly #content: DiskFile;
  readonly #begunMs: number;
  /** null while it has no file. */
  #envelope: DiskFile | null = null;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #size = 0;
  /** What was put into its files; null before it is sealed. */
  #written: Written | null = null;
  #stamps: Stamps | null = null;
  #filtered = false;
  #ended = false;

  /** `content`: its file, just created. */
  constructor(house: DraftHouse, id: MessageId, content: DiskFile) {
    this.id = id;
    this.#house = house;
    this.#disk = house.disk;
    this.#content = content;
    this.#begunMs = house.clock?.monotonic() ?? Number.NEGATIVE_INFINITY;
  }

  get size(): number {
    return this.#size;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#gatheredBytes === 0 && chunk.length >= GATHER_BYTES) {
      this.#size += chunk.length;
      await this.#appendLater(chunk);
      return;
    }
    // A copy: the caller may reuse its buffer.
    this.#gathered.push(Buffer.from(chunk));
    this.#gatheredBytes += chunk.length;
    this.#size += chunk.length;
    if (this.#gatheredBytes >= GATHER_BYTES) await this.#appendLater(null);
  }

  /** null: what was gathered. */
  async #appendLater(chunk: Uint8Array | null): Promise<void> {
    const name = contentName(this.id);
    this.#mustBeOpen("write", name);
    try {
      await this.#content.appendLater(chunk ?? this.#takeGathered());
    } catch (error) {
      throw this.#gaveUp("write", name, error);
    }
  }

  async seal(envelope: Envelope): Promise<void> {
    const whole = this.#size === this.#gatheredBytes;
    let name = contentName(this.id);
    this.#mustBeOpen("write", name);
    try {
      const content = this.#takeGathered();
      if (content.length > 0) this.#content.append(content);
      name = newName(this.id);
      const bytes = encodeEnvelope(envelope, name);
      if (bytes.length > MAX_ENVELOPE_BYTES) {
        const text = `cannot write "${name}": ${bytes.length} bytes are too many for an envelope`;
        throw new RelayError("ENVELOPE_SYNTAX", name, text);
      }
      this.#written = {
        content: whole ? content : null,
        contentBytes: this.#size,
        envelope: bytes,
        said: copyIfUsual(envelope),
      };
      // One that may be reserved gets its file when it is committed.
      if (this.#house.reserved?.isOpen !== true) this.#remember(this.#writeEnvelope());
    } catch (error) {
      throw this.#gaveUp("write", name, error);
    }
  }

  #writeEnvelope(): DiskFile | null {
    if (this.#envelope !== null || this.#written === null) return this.#envelope;
    this.#envelope = this.#disk.create(newName(this.id));
    this.#envelope.append(this.#written.envelope);
    return this.#envelope;
  }

  /** Before anybody else can know of them. */
  #remember(envelope: DiskFile | null): void {
    if (envelope === null || this.#filtered || this.#stamps !== null) return;
    if (this.#house.remembers?.() !== true) return;
    this.#stamps = { content: stampOf(this.#content.facts()), envelope: stampOf(envelope.facts()) };
  }

  files(): MessageFiles {
    this.#giveAway();
    return spoolFiles(this.#disk, contentName(this.id), newName(this.id));
  }

  /** From now on somebody else may change the files, and both are there. */
  #giveAway(): void {
    this.#filtered = true;
    const name = newName(this.id);
    try {
      this.#writeEnvelope();
    } catch (error) {
      throw this.#gaveUp("write", name, error);
    }
  }

  async reread(): Promise<Envelope> {
    const name = newName(this.id);
    this.#mustBeOpen("read", name);
    this.#giveAway();
    try {
      const file = this.#disk.open(name);
      try {
        return decodeEnvelope(file.readAll(), name);
      } finally {
        file.close();
      }
    } catch (error) {
      throw this.#gaveUp("read", name, error);
    }
  }

  async commit(): Promise<void> {
    if (this.#ended || this.#written === null) {
      throw new Error("A draft is committed once, when sealed");
    }
    const progress = { envelope: this.#envelope === null ? null : newName(this.id) };
    try {
      if (this.#filtered) this.#mustBeFiles();
      await this.#publish(progress);
    } catch (error) {
      // Whatever was synced before a failed sync cannot be believed any more: nothing may stay.
      this.#discard(progress.envelope);
      throw storageError(error, "commit", newName(this.id));
    }
    this.#end(true);
  }

  async #publish(progress: Progress): Promise<void> {
    const { directory, journal, reserved } = this.#house;
    const { id } = this;
    const written = this.#filtered ? null : this.#written;
    const synced = written?.content === null && journal?.takesLarge === true;
    if (synced) await this.#content.sync();
    if (written?.content === null || (written !== null && this.#tookTime())) this.#mustBeNamed();
    if (written !== null && journal && reserved && journal.takes(written, synced)) {
      this.#content.close();
      this.#envelope?.close();
      await publishJournaled(this.#disk, journal, { id, written, progress, reserved });
      return;
    }
    progress.envelope = newName(id);
    const envelope = this.#writeEnvelope();
    this.#remember(envelope);
    const files = this.#filtered || envelope === null ? null : [this.#content, envelope];
    await publish(this.#disk, directory, { id, written: files, progress });
  }

  #tookTime(): boolean {
    const now = this.#house.clock?.monotonic() ?? Number.POSITIVE_INFINITY;
    return now - this.#begunMs > PROMPT_MS;
  }

  /**
   * While a client takes its time, or its message is large, the spool may have become another one than when it began:
   * the envelope would be there, and the content elsewhere. Of those that come at once none is looked for. Who takes the
   * spool away within such a moment takes what was committed a moment before as well.
   */
  #mustBeNamed(): void {
    const name = contentName(this.id);
    const { inode, device } = this.#content.facts();
    const there = this.#disk.stat(name);
    if (there?.inode === inode && there.device === device) return;
    throw new RelayError("SPOOL_IO", name, `"${name}" was moved away while it was written`);
  }

  /** A filter that takes the message away must say so, and one that leaves something else does not get it sent. */
  #mustBeFiles(): void {
    for (const name of [contentName(this.id), newName(this.id)]) {
      if (this.#disk.stat(name)?.kind === "file") continue;
      const text = `the filter has left no file "${name}"`;
      throw new RelayError("CONTENT_MISSING", name, text);
    }
  }

  async commitIfLeft(): Promise<boolean> {
    this.#giveAway();
    if (this.#disk.stat(newName(this.id)) === null) {
      // The filter has taken the message; content without envelope may be in use elsewhere (copy:pop).
      this.#end(false);
      return false;
    }
    if (this.#disk.stat(contentName(this.id)) !== null) {
      await this.commit();
      return true;
    }
    this.#discard(newName(this.id));
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.#discard(this.#envelope === null ? null : newName(this.id));
  }

  #takeGathered(): Buffer {
    const [first] = this.#gathered;
    const bytes =
      this.#gathered.length === 1 && first !== undefined ? first : Buffer.concat(this.#gathered);
    this.#gathered = [];
    this.#gatheredBytes = 0;
    return bytes;
  }

  #mustBeOpen(doing: string, name: string): void {
    if (this.#ended) throw new RelayError("SPOOL_IO", name, `cannot ${doing} "${name}": discarded`);
  }

  /** A step has failed: every trace of the message is removed. Returns what to throw. */
  #gaveUp(doing: string, name: string, error: unknown): unknown {
    this.#discard(newName(this.id));
    return storageError(error, doing, name);
  }

  /**
   * `envelope`: its name; null when it has no file. Not its first name: it is a message, and another process may
   * hold it by now.
   */
  #discard(envelope: string | null): void {
    const content = contentName(this.id);
    const removed = envelope === null ? "gone" : this.#tryRemove(envelope);
    if (envelope !== null && envelope !== newName(this.id) && removed !== "removed") {
      // It keeps its content, so that it never arrives empty if another process takes it.
      if (removed === "stays") this.#house.onLeft?.(this.id, [envelope, content]);
    } else {
      const left = this.#tryRemove(content) === "stays" ? [content] : [];
      if (envelope !== null && removed === "stays") left.unshift(envelope);
      if (left.length > 0) this.#house.onLeft?.(this.id, left);
    }
    this.#end(false);
  }

  #tryRemove(name: string): "removed" | "gone" | "stays" {
    try {
      this.#disk.remove(name);
      return "removed";
    } catch (error) {
      return isErrno(error, "ENOENT") ? "gone" : "stays";
    }
  }

  #end(committed: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#gathered = [];
    const written = this.#filtered ? null : this.#written;
    const stamps = this.#stamps;
    this.#written = null;
    closeQuietly(this.#content);
    if (this.#envelope !== null) closeQuietly(this.#envelope);
    const remembered = written === null || stamps === null ? null : { ...written, stamps };
    this.#house.onEnd(this.id, committed, remembered);
  }
}

/** For files that are given up: what a late write error says about them matters to nobody. */
function closeQuietly(file: DiskFile): void {
  try {
    file.close();
  } catch {
    // Given up already.
  }
}
