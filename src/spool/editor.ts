/** What built-in filters do to a message of this store: durable, and all of it or nothing. */
import { randomInt } from "node:crypto";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { Envelope } from "../core/envelope.ts";
import { isErrno, RelayError } from "../core/errors.ts";
import type { Distribution, MessageEditor, SplitEnvelopes } from "../core/message-editor.ts";
import type { MessageId } from "../core/message-id.ts";
import type { MessageFiles } from "../core/store.ts";
import type { Disk, DiskFile } from "../io/disk.ts";
import { nodeDisk } from "../io/node-disk.ts";
import { decodeEnvelope, encodeEnvelope } from "./envelope-format.ts";
import type { NoteKind } from "./journal-files.ts";
import { deliverTo, type MailboxKind, type Parcel } from "./mailbox.ts";
import { idBefore, isSpoolFile } from "./names.ts";
import { Newcomers, type Nursery } from "./split.ts";
import {
  copyOf,
  filledWith,
  removeIfThere,
  removeQuietly,
  replace,
  settle,
  stage,
  temporaryName,
} from "./staging.ts";
import { plainReason, storageError } from "./storage-errors.ts";

export interface EditorOptions extends Nursery {
  readonly clock: Clock;
  readonly pid: number;
  /** Called before a message is removed, and when that has failed. */
  readonly noteRemoval?: (id: MessageId, kind: NoteKind) => void;
}

/** Bytes; envelopes are a few hundred. */
const MAX_ENVELOPE_BYTES = 16 * 1024 * 1024;

export class FileEditor implements MessageEditor {
  readonly #options: EditorOptions;
  readonly #disk: Disk;
  readonly #sync: boolean;
  /** From anywhere: after a restart the same second and process id may come again, as in a container whose clock went back. */
  #serial = randomInt(2 ** 47);

  constructor(options: EditorOptions) {
    this.#options = options;
    this.#disk = options.disk;
    this.#sync = options.directory !== null;
  }

  async readEnvelope(path: string): Promise<Envelope> {
    const bytes = this.#envelopeBytes(path);
    try {
      return decodeEnvelope(bytes, path);
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      throw new RelayError(error.code, path, `cannot read "${path}": ${error.message}`);
    }
  }

  async writeEnvelope(path: string, envelope: Envelope): Promise<void> {
    await this.#replace(path, filledWith(encodeEnvelope(envelope, path)));
  }

  async addMessage(content: string, envelope: Envelope): Promise<MessageId> {
    using newcomers = new Newcomers(this.#options);
    await this.#prepare(newcomers, content, 1, () => [envelope]);
    const [id] = newcomers.ids;
    if (id === undefined) throw new Error("One message was added");
    newcomers.keep();
    return id;
  }

  /**
   * The others are on disk before the message loses their recipients: a crash in between is a
   * second delivery, the other order would be a loss. The new envelope is written before the others
   * are shown, so that a full disk is found out while everything can be taken back.
   */
  async splitMessage(
    files: MessageFiles,
    others: number,
    envelopes: (ids: readonly MessageId[]) => SplitEnvelopes,
  ): Promise<readonly MessageId[]> {
    using newcomers = new Newcomers(this.#options);
    const own = this.#nameOf(files.envelope);
    const temporary = temporaryName(own);
    try {
      await this.#prepare(newcomers, files.content, others, async (ids) => {
        const wanted = envelopes(ids);
        removeQuietly(this.#disk, temporary); // Left by a crash.
        const bytes = encodeEnvelope(wanted.own, files.envelope);
        await stage(this.#disk, temporary, this.#sync, filledWith(bytes));
        return wanted.others;
      });
      settle(this.#disk, temporary, own);
    } catch (error) {
      removeQuietly(this.#disk, temporary);
      throw storageError(error, "split", files.envelope);
    }
    newcomers.keep();
    return newcomers.ids;
  }

  async folders(): Promise<readonly string[]> {
    const { directory } = this.#disk;
    try {
      return this.#disk
        .list()
        .filter((name) => !name.startsWith(".") && !isSpoolFile(name))
        .filter((name) => this.#disk.stat(name)?.kind === "directory")
        .sort();
    } catch (error) {
      throw storageError(error, "list", directory);
    }
  }

  async distribute(files: MessageFiles, distribution: Distribution): Promise<void> {
    // Nothing copied is no reason to remove anything.
    if (distribution.mailboxes.length === 0) return;
    const { directory } = this.#disk;
    const base = distribution.base === directory ? this.#disk : nodeDisk(distribution.base);
    const placed: string[] = [];
    let contentNeeded: boolean;
    try {
      const kinds = await this.#copyTo(base, files, distribution, placed);
      contentNeeded = distribution.content === "stay" && kinds.includes("spool");
      if (distribution.originals === "keep") return;
      this.#removeNoted(files);
    } catch (error) {
      for (const name of placed.reverse()) removeQuietly(base, name);
      throw storageError(error, "copy", files.envelope);
    }
    // Without its envelope it is no message any more: what cannot be removed is only untidy.
    if (!contentNeeded) removeQuietly(this.#disk, this.#nameOf(files.content));
  }

  #removeNoted(files: MessageFiles): void {
    const id = idBefore(".content", this.#nameOf(files.content));
    if (id !== null) this.#options.noteRemoval?.(id, "removed");
    try {
      removeIfThere(this.#disk, this.#nameOf(files.envelope));
    } catch (error) {
      if (id !== null) this.#options.noteRemoval?.(id, "kept");
      throw error;
    }
  }

  async readStart(content: string, limitBytes: number): Promise<Uint8Array> {
    return await this.#withContent(content, async (file) => {
      const start = Buffer.alloc(Math.min(limitBytes, file.facts().size));
      let done = 0;
      while (done < start.length) {
        const count = await file.read(start.subarray(done), done);
        if (count === 0) break;
        done += count;
      }
      return start.subarray(0, done);
    });
  }

  async prepend(content: string, bytes: Uint8Array): Promise<void> {
    await this.#withContent(content, async (old) => {
      await this.#replace(content, async (file) => {
        file.append(bytes);
        await copyOf(old)(file);
      });
    });
  }

  serial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  async #prepare(
    newcomers: Newcomers,
    content: string,
    count: number,
    envelopes: (ids: readonly MessageId[]) => Promise<readonly Envelope[]> | readonly Envelope[],
  ): Promise<void> {
    await this.#withContent(content, async (file) => {
      // The content of a message that is being received has not been synced yet.
      if (this.#sync && count > 0) await file.sync();
      for (let left = count; left > 0; left--) await newcomers.addContent({ path: content, file });
      await newcomers.addEnvelopes(await envelopes(newcomers.ids));
      await newcomers.show();
    });
  }

  async #copyTo(
    base: Disk,
    files: MessageFiles,
    { mailboxes, content: how }: Distribution,
    placed: string[],
  ): Promise<readonly MailboxKind[]> {
    const envelope = this.#envelopeBytes(files.envelope);
    const id = idBefore(".content", this.#nameOf(files.content));
    if (id === null) throw notInSpool(files.content);
    return await this.#withContent(files.content, async (file) => {
      if (this.#sync && how !== "copy") await file.sync();
      const parcel: Parcel = {
        id,
        envelope,
        content: { path: files.content, file },
        how,
        sync: this.#sync,
        maildirName: () => this.#maildirName(),
      };
      const kinds: MailboxKind[] = [];
      for (const one of mailboxes) kinds.push(await deliverTo(base, one, parcel, placed));
      // Mailboxes may have been made just now, and content that stays has to be found again.
      await this.#syncBase(base);
      return kinds;
    });
  }

  async #syncBase(base: Disk): Promise<void> {
    if (base === this.#disk) await this.#options.directory?.flush();
    else if (this.#sync) await base.syncDirectory();
  }

  /** Source: maildir(5); "/" and ":" in the host name are written in octal. */
  #maildirName(): string {
    const { clock, pid } = this.#options;
    const now = clock.now();
    const seconds = Math.floor(now / 1000);
    const micros = Math.floor((now - seconds * 1000) * 1000);
    const host = hostname().replaceAll("/", "\\057").replaceAll(":", "\\072");
    return `${seconds}.${micros}.${pid}.${host}.${this.serial()}`;
  }

  async #replace(path: string, fill: (file: DiskFile) => void | Promise<void>): Promise<void> {
    try {
      await replace(this.#disk, this.#nameOf(path), this.#sync, fill);
    } catch (error) {
      throw storageError(error, "write", path);
    }
  }

  /** Whatever the bytes mean. Throws SPOOL_IO, ENVELOPE_SYNTAX. */
  #envelopeBytes(path: string): Buffer {
    try {
      const file = this.#disk.open(this.#nameOf(path));
      try {
        const { kind, size } = file.facts();
        if (kind !== "file" || size > MAX_ENVELOPE_BYTES) {
          const why = kind === "file" ? "file too large" : "not a regular file";
          throw new RelayError("ENVELOPE_SYNTAX", path, `cannot read "${path}": ${why}`);
        }
        return file.readAll();
      } finally {
        file.close();
      }
    } catch (error) {
      throw storageError(error, "read", path);
    }
  }

  /** Hard links are fine; symbolic links, fifos and the like count as no content. */
  async #withContent<T>(path: string, work: (file: DiskFile) => Promise<T>): Promise<T> {
    const missing = (why: string) =>
      new RelayError("CONTENT_MISSING", path, `message content "${path}" is missing: ${why}`);
    let file: DiskFile;
    try {
      file = this.#disk.open(this.#nameOf(path));
    } catch (error) {
      if (isErrno(error, "ENOENT", "ELOOP", "ENXIO")) throw missing(plainReason(error));
      throw storageError(error, "open", path);
    }
    try {
      if (file.facts().kind !== "file") throw missing("not a regular file");
      return await work(file);
    } catch (error) {
      throw storageError(error, "copy", path);
    } finally {
      file.close();
    }
  }

  /** A file's name in the spool: nothing else is touched. */
  #nameOf(path: string): string {
    const name = basename(path);
    if (dirname(path) !== dirname(join(this.#disk.directory, "x")) || name === "") {
      throw notInSpool(path);
    }
    return name;
  }
}

function notInSpool(path: string): RelayError {
  return new RelayError("SPOOL_IO", path, `cannot edit "${path}": not a message of this spool`);
}
