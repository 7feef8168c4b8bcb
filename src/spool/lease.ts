/** A message held by one forwarder: its envelope is named `.busy` until it is done, set aside or put back. */
import type { Envelope } from "../core/envelope.ts";
import { describeError, type ErrorCode, isErrno, RelayError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Content, FailureReason, Lease, MessageFiles } from "../core/store.ts";
import type { Disk } from "../io/disk.ts";
import type { SharedSync } from "./commit.ts";
import { KnownContent, openContent } from "./content.ts";
import { decodeEnvelope, encodeEnvelope } from "./envelope-format.ts";
import { badName, busyName, contentName, envelopeName, ownerOf, rewriteName } from "./names.ts";
import type { SpoolPlace } from "./place.ts";
import { reasonLines } from "./reasons.ts";
import { spoolFiles } from "./spool-files.ts";
import { storageError } from "./storage-errors.ts";

/** "delivered": but still to be removed. "lost": still to be put back. */
export type LeaseEnd = "completed" | "delivered" | "failed" | "released" | "lost";

/** What the leases of a store share. */
export interface LeaseHouse {
  readonly disk: Disk;
  readonly place: SpoolPlace;
  /** null for --no-sync. */
  readonly directory: SharedSync | null;
  readonly journal: Journal;
  /** Called before a message is removed. */
  readonly removing: (id: MessageId) => void;
  /** Called once for each, when the message is no longer held. `place`: the directory that it was taken from. */
  readonly onEnd: (id: MessageId, end: LeaseEnd, place: string | null) => void;
}

/** The message that a lease is of. */
export interface Leased {
  readonly id: MessageId;
  readonly envelope: Envelope;
  /** What its content's file holds, if that need not be read. */
  readonly content: Buffer | null;
  /** The directory that it was found in; absent: the one that was looked at last. */
  readonly place?: string | null;
}

const MOVED = "the spool directory was moved away";

export class FileLease implements Lease {
  readonly id: MessageId;
  readonly #house: LeaseHouse;
  readonly #disk: Disk;
  readonly #place: string | null;
  #envelope: Envelope;
  #content: Buffer | null;
  #ended = false;

  constructor(house: LeaseHouse, { id, envelope, content, place }: Leased) {
    this.id = id;
    this.#house = house;
    this.#disk = house.disk;
    this.#place = place ?? house.place.last;
    this.#envelope = envelope;
    this.#content = content;
  }

  get envelope(): Envelope {
    return this.#envelope;
  }

  async content(): Promise<Content> {
    if (this.#content !== null) return new KnownContent(this.#content);
    return openContent(this.#disk, this.id);
  }

  files(): MessageFiles {
    this.#content = null; // Whoever gets the files may edit them.
    return spoolFiles(this.#disk, contentName(this.id), busyName(this.id));
  }

  async reread(): Promise<Envelope> {
    const name = busyName(this.id);
    try {
      this.#envelope = decodeEnvelope(readFile(this.#disk, name), name);
    } catch (error) {
      throw storageError(error, "read", name);
    }
    return this.#envelope;
  }

  /**
   * Envelope before content, so that a crash in between leaves content without an owner and never
   * a message without content. Not synced: what a power cut could bring back is one more delivery,
   * which any forwarder must expect anyway, and a sync for each message would halve the rate.
   */
  async complete(): Promise<void> {
    const busy = busyName(this.id);
    this.#house.removing(this.id);
    try {
      // Put back behind our back (an operator, a wrong recovery)? It is delivered all the same.
      const found = this.#removeIfThere(busy) || this.#removeIfThere(envelopeName(this.id));
      // An operator has removed it, or the whole spool is away, and comes back with it.
      if (!found && !this.#house.place.is(this.#place)) return this.#stay(MOVED);
    } catch (error) {
      return this.#stay(describeError(storageError(error, "delete", busy)));
    }
    this.#end(this.#removeContent() ? "completed" : "delivered");
  }

  #stay(why: string): void {
    this.#warn(`${this.id} is delivered, but stays for now: ${why}`);
    this.#end("delivered");
  }

  /** Without its envelope it is no message any more: a failure is only untidy, and mended later. */
  #removeContent(): boolean {
    const name = contentName(this.id);
    try {
      this.#removeIfThere(name);
      return true;
    } catch (error) {
      this.#warn(describeError(storageError(error, "delete", name)));
      return false;
    }
  }

  /** Rewritten and synced under a temporary name, put in place, and only then renamed: each step leaves one whole envelope. */
  async fail(reason: FailureReason): Promise<void> {
    const busy = busyName(this.id);
    const bad = badName(this.id);
    try {
      await this.#writeReason(reason);
    } catch (error) {
      // No room for a reason is no reason to lose or resend the message.
      const why = describeError(storageError(error, "write", busy));
      this.#warn(`cannot write failure reason into "${bad}": ${why}`);
    }
    try {
      this.#disk.rename(busy, bad);
    } catch (error) {
      throw storageError(error, "rename", busy);
    }
    await this.#syncSetAside(bad);
    this.#end("failed");
  }

  /** It is set aside already: at the worst a power cut brings it back, to be refused once more. */
  async #syncSetAside(bad: string): Promise<void> {
    try {
      await this.#house.directory?.flush();
    } catch (error) {
      const told = storageError(error, "sync the name of", bad);
      if (!(told instanceof RelayError)) throw told;
      this.#warn(told.message);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    try {
      this.#disk.rename(busyName(this.id), envelopeName(this.id));
      this.#end("released");
    } catch (error) {
      // A filter may have taken the message away; anything else is left to recovery.
      if (!isErrno(error, "ENOENT")) {
        this.#warn(describeError(storageError(error, "put back", busyName(this.id))));
      }
      this.#end("lost");
    }
  }

  async rewrite(envelope: Envelope): Promise<void> {
    const name = busyName(this.id);
    try {
      await this.#replace(encodeEnvelope(envelope, name));
      await this.#house.directory?.flush();
    } catch (error) {
      throw storageError(error, "write", name);
    }
    this.#envelope = envelope;
  }

  async #writeReason(reason: FailureReason): Promise<void> {
    const old = readFile(this.#disk, busyName(this.id));
    await this.#replace(withReason(old, this.#envelope, reason));
  }

  /** Written and synced under a temporary name, then put in place. What an operator has removed meanwhile does not come back. */
  async #replace(bytes: Uint8Array): Promise<void> {
    const busy = busyName(this.id);
    const temporary = rewriteName(this.id);
    this.#removeIfThere(temporary); // Left by a crash while this message was held before.
    try {
      const file = this.#disk.create(temporary);
      try {
        file.append(bytes);
        if (this.#house.directory !== null) await file.sync();
      } finally {
        file.close();
      }
      if (this.#disk.stat(busy) === null) throw this.#missing(busy);
      this.#disk.rename(temporary, busy);
    } catch (error) {
      this.#removeIfThere(temporary);
      throw error;
    }
  }

  /** Its lock is not there: with the whole spool, or under another name, or it is no message any more. */
  #missing(busy: string): RelayError {
    const because = (code: ErrorCode, why: string) =>
      new RelayError(code, busy, `cannot write "${busy}": ${why}`);
    // A listing may miss what is renamed meanwhile.
    const isNamed =
      this.#disk.list().some((name) => ownerOf(name) === this.id) ||
      [envelopeName(this.id), busy].some((name) => this.#disk.stat(name) !== null);
    if (!this.#house.place.is(this.#place)) return because("SPOOL_IO", MOVED);
    if (isNamed) return because("SPOOL_IO", "it was renamed meanwhile");
    return because("MESSAGE_REMOVED", "it was removed meanwhile");
  }

  #removeIfThere(name: string): boolean {
    try {
      this.#disk.remove(name);
      return true;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return false;
      throw error;
    }
  }

  #end(end: LeaseEnd): void {
    this.#ended = true;
    this.#house.onEnd(this.id, end, this.#place);
  }

  #warn(text: string): void {
    this.#house.journal.tell({ kind: "note", level: "warning", detail: false, text });
  }
}

/**
 * The envelope with its reason. While the recipients stay the same, lines are appended in the file's
 * own line ends and every byte of it is kept, as E-MailRelay does; otherwise it is written anew.
 */
function withReason(old: Buffer, known: Envelope, reason: FailureReason): Buffer {
  const lines = reasonLines(reason.text, reason.code);
  const current = decoded(old) ?? known;
  const { recipients } = reason;
  const same =
    recipients.length === current.toRemote.length &&
    recipients.every((one, at) => one === current.toRemote[at]);
  if (!same) {
    const trailer = [...current.trailer, ...lines];
    return encodeEnvelope({ ...current, toRemote: recipients, trailer }, "envelope");
  }
  const end = old.includes("\r\n") || !old.includes("\n") ? "\r\n" : "\n";
  const gap = old.at(-1) === 0x0a ? "" : end;
  return Buffer.concat([old, Buffer.from(`${gap}${lines.join(end)}${end}`, "ascii")]);
}

/** null when a filter has made a mess of it. */
function decoded(bytes: Buffer): Envelope | null {
  try {
    return decodeEnvelope(bytes, "envelope");
  } catch {
    return null;
  }
}

/** Throws ENOENT, ELOOP and the like. */
export function readFile(disk: Disk, name: string): Buffer {
  const file = disk.open(name);
  try {
    return file.readAll();
  } finally {
    file.close();
  }
}
