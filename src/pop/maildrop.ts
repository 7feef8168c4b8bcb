/**
 * The messages of one session: those that wait in the spool, or in the account's own folder of it, at the
 * time of the login. Nothing is locked; whoever removes an envelope owns what is left of its message.
 */
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { describeError, isErrno, RelayError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import { type MessageId, parseMessageId } from "../core/message-id.ts";
import type { Disk, DiskFile } from "../io/disk.ts";
import { nodeDisk } from "../io/node-disk.ts";
import { enterFolder } from "./folder.ts";
import { idsWithEnvelope, remainingEnvelope } from "./owners.ts";

export interface MailMessage {
  readonly id: MessageId;
  /** Bytes of content at the time of the login. */
  readonly size: number;
}

export interface MaildropOptions {
  readonly spool: string;
  /** False for --no-sync. */
  readonly sync: boolean;
  /** Each account has the spool sub-directory of its name. */
  readonly byName: boolean;
  readonly journal: Journal;
  /** Called before a message is removed from the spool directory itself, and when that has failed. */
  readonly noteRemoval?: (id: MessageId, kind: "removed" | "kept") => void;
  /** Another way to the files than the file system's own. */
  readonly openDisk?: (directory: string) => Disk;
}

/** After so many files the other sessions have their turn. */
const BATCH = 200;

const ENVELOPE = ".envelope";
const contentName = (id: MessageId): string => `${id}.content`;
const envelopeName = (id: MessageId): string => `${id}${ENVELOPE}`;

/** Never changes while the message lives; 1 to 70 visible characters (RFC 1939, UIDL). */
export function uidOf({ id }: MailMessage): string {
  const name = contentName(id);
  const fits = /^[!-~]{1,70}$/.test(name);
  return fits ? name : createHash("sha256").update(name).digest("hex");
}

/** Lists what the account `id` may read. Throws SPOOL_IO, or SPOOL_INVALID where the name or its folder cannot be used. */
export async function openMaildrop(options: MaildropOptions, id: string): Promise<Maildrop> {
  const { spool, byName, openDisk = nodeDisk } = options;
  const home = openDisk(byName ? enterFolder(spool, id) : spool);
  try {
    return new Maildrop(options, home, await listMessages(home, byName ? openDisk(spool) : null));
  } catch (error) {
    throw new RelayError(
      "SPOOL_IO",
      home.directory,
      `cannot read "${home.directory}": ${describeError(error)}`,
      { cause: error },
    );
  }
}

async function listMessages(home: Disk, parent: Disk | null): Promise<MailMessage[]> {
  const names = home.list().filter((name) => name.endsWith(ENVELOPE) && !name.startsWith("."));
  const found: MailMessage[] = [];
  for (const [index, name] of names.sort().entries()) {
    if (index % BATCH === BATCH - 1) await setImmediate();
    const id = parseMessageId(name.slice(0, -ENVELOPE.length));
    if (id === null || home.stat(name)?.kind !== "file") continue;
    const content = home.stat(contentName(id)) ?? parent?.stat(contentName(id));
    if (content?.kind === "file" && content.size > 0) found.push({ id, size: content.size });
  }
  return found;
}

export class Maildrop {
  readonly messages: readonly MailMessage[];
  readonly #options: MaildropOptions;
  readonly #home: Disk;
  readonly #spool: Disk;

  constructor(options: MaildropOptions, home: Disk, messages: readonly MailMessage[]) {
    this.#options = options;
    this.#home = home;
    this.#spool = (options.openDisk ?? nodeDisk)(options.spool);
    this.messages = messages;
  }

  /** Opens the content; null when it has gone since the login. Throws system errors. */
  open({ id }: MailMessage): DiskFile | null {
    const file = openIfThere(this.#home, id) ?? openIfThere(this.#spool, id);
    if (file === null || file.facts().kind === "file") return file;
    file.close();
    return null;
  }

  /**
   * Envelopes first, then content, each on disk before the next step: a power cut in between leaves content
   * without an owner, and never a message without content. What a forwarder holds, or somebody else has
   * removed, is left alone. False when something could not be removed; that has been told.
   */
  async remove(messages: readonly MailMessage[]): Promise<boolean> {
    const taken: MessageId[] = [];
    let complete = true;
    await inBatches(messages, ({ id }) => {
      const removed = this.#removeEnvelope(id);
      if (removed === "removed") taken.push(id);
      if (removed === "failed") complete = false;
    });
    if (taken.length === 0) return complete;
    await this.#sync([this.#home]);
    const disks = await this.#removeContents(taken);
    await this.#sync(disks);
    return complete;
  }

  /**
   * Noted before, or it would come back after a kill; and taken back if it stays, or one that a forwarder holds would
   * be removed undelivered if that is killed.
   */
  #removeEnvelope(id: MessageId): "removed" | "gone" | "failed" {
    const name = envelopeName(id);
    if (!this.#isSpool) return this.#delete(this.#home, name);
    if (isGone(this.#home, name)) return "gone";
    this.#options.noteRemoval?.(id, "removed");
    const removed = this.#delete(this.#home, name);
    if (removed === "failed" || (removed === "gone" && this.#mayStay(id))) {
      this.#options.noteRemoval?.(id, "kept");
    }
    return removed;
  }

  get #isSpool(): boolean {
    return this.#home.directory === this.#spool.directory;
  }

  /** Under another name, which may change while we look: once more, then. */
  #mayStay(id: MessageId): boolean {
    try {
      return remainingEnvelope(this.#home, id) || remainingEnvelope(this.#home, id);
    } catch {
      return true;
    }
  }

  /** Failures are only untidy. Returns where something was removed. */
  async #removeContents(ids: readonly MessageId[]): Promise<readonly Disk[]> {
    const inSpool: MessageId[] = [];
    const changed = new Set<Disk>();
    const isSpool = this.#isSpool;
    await inBatches(ids, (id) => {
      if (isSpool || this.#home.stat(contentName(id)) === null) inSpool.push(id);
      else if (!remainingEnvelope(this.#home, id)) this.#removeContent(this.#home, id, changed);
    });
    const owned = inSpool.length === 0 ? null : this.#owned();
    await inBatches(inSpool, (id) => {
      if (owned?.has(id) === false) this.#removeContent(this.#spool, id, changed);
    });
    return [...changed];
  }

  /** Other mailboxes may use the same content (`copy:pop`). null when nobody can say: then all of it stays. */
  #owned(): ReadonlySet<string> | null {
    try {
      return idsWithEnvelope(this.#spool);
    } catch (error) {
      this.#warn(
        `cannot tell whose content is in "${this.#spool.directory}": ${describeError(error)}`,
      );
      return null;
    }
  }

  #removeContent(disk: Disk, id: MessageId, changed: Set<Disk>): void {
    if (this.#delete(disk, contentName(id)) === "removed") changed.add(disk);
  }

  #delete(disk: Disk, name: string): "removed" | "gone" | "failed" {
    const what = name.endsWith(ENVELOPE) ? "envelope" : "content";
    try {
      disk.remove(name);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return "gone";
      this.#warn(`cannot delete ${what} [${name}]: ${describeError(error)}`);
      return "failed";
    }
    const text = `deleting ${what} [${name}]`;
    this.#options.journal.tell({ kind: "note", level: "info", detail: true, text });
    return "removed";
  }

  #warn(text: string): void {
    this.#options.journal.tell({ kind: "note", level: "warning", detail: false, text });
  }

  async #sync(disks: readonly Disk[]): Promise<void> {
    if (!this.#options.sync) return;
    for (const disk of disks) await disk.syncDirectory();
  }
}

/** Symbolic links and the like count as gone. */
function openIfThere(disk: Disk, id: MessageId): DiskFile | null {
  try {
    return disk.open(contentName(id));
  } catch (error) {
    if (isErrno(error, "ENOENT", "ELOOP", "ENXIO")) return null;
    throw error;
  }
}

function isGone(disk: Disk, name: string): boolean {
  try {
    return disk.stat(name) === null;
  } catch {
    return false;
  }
}

async function inBatches<T>(all: readonly T[], work: (one: T) => void): Promise<void> {
  for (const [index, one] of all.entries()) {
    if (index % BATCH === BATCH - 1) await setImmediate();
    work(one);
  }
}
