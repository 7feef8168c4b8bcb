/** Takes a waiting envelope: the rename to `.busy` is the lock. What cannot be used is left as it is and named once. */
import { join } from "node:path";
import type { Envelope } from "../core/envelope.ts";
import { describeError, isErrno, RelayError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk, FileFacts } from "../io/disk.ts";
import { decodeEnvelope } from "./envelope-format.ts";
import { type Remembered, stampOf } from "./fresh.ts";
import { busyName, contentName, envelopeName } from "./names.ts";
import { ReadAhead } from "./read-ahead.ts";
import { readEnvelope } from "./read-envelope.ts";
import { plainReason, storageError } from "./storage-errors.ts";

/** A message whose lock is ours. */
export interface Locked {
  readonly envelope: Envelope;
  /** null when it must be read. */
  readonly content: Buffer | null;
}

export type Taken =
  | ({ readonly kind: "taken" } & Locked)
  /** Another forwarder has it. */
  | { readonly kind: "gone" }
  /** Left where it is; the operator knows. */
  | { readonly kind: "unusable" };

export class Taker {
  readonly #disk: Disk;
  readonly #warn: (text: string) => void;
  readonly #ahead: ReadAhead;
  /** What was found unusable, and how it looked then: told once, and looked at again when it changes. */
  readonly #named = new Map<MessageId, string>();
  /** What the system would not read, and why: told once, and tried each time, as nothing shows when that ends. */
  readonly #unread = new Map<MessageId, string>();

  constructor(disk: Disk, warn: (text: string) => void) {
    this.#disk = disk;
    this.#warn = warn;
    this.#ahead = new ReadAhead(disk);
  }

  /** What will be taken, in this order. */
  announce(ids: readonly MessageId[]): void {
    this.#ahead.announce(ids);
  }

  /**
   * `known`: what the message's files hold, if nobody has changed them. `plain`: its envelope was a file
   * when it was last seen, and had no lock beside it, which saves a look. Throws SPOOL_IO for storage trouble.
   */
  take(id: MessageId, known: Remembered | null, plain: boolean): Taken {
    const waiting = envelopeName(id);
    if (known !== null) return this.#takeKnown(id, known);
    try {
      if (!plain || this.#named.has(id)) {
        const left = this.#look(id);
        if (left !== null) return left;
      }
      this.#disk.rename(waiting, busyName(id));
    } catch (error) {
      // Losing the race is an ordinary answer.
      if (isErrno(error, "ENOENT")) return this.#gone(id);
      throw storageError(error, "lock", waiting);
    }
    return this.#readLocked(id);
  }

  /** null when it may be opened. */
  #look(id: MessageId): Taken | null {
    const facts = this.#disk.stat(envelopeName(id));
    if (facts === null) return this.#gone(id);
    if (this.#named.get(id) === lookOf(facts)) return { kind: "unusable" };
    if (facts.kind !== "file") return this.#leave(id, facts, "not a regular file");
    // A lock that somebody has left would be replaced: not by what is no envelope.
    return this.#disk.stat(busyName(id)) === null ? null : this.#lookInto(id, facts);
  }

  #lookInto(id: MessageId, facts: FileFacts): Taken | null {
    try {
      readEnvelope(this.#disk, envelopeName(id));
      return null;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return this.#gone(id);
      return this.#leaveAsRead(id, facts, error);
    }
  }

  #gone(id: MessageId): Taken {
    this.#forget(id);
    return { kind: "gone" };
  }

  #takeKnown(id: MessageId, known: Remembered): Taken {
    const waiting = envelopeName(id);
    try {
      this.#disk.rename(waiting, busyName(id));
    } catch (error) {
      if (isErrno(error, "ENOENT")) return { kind: "gone" };
      throw storageError(error, "lock", waiting);
    }
    // Another forwarder, or an operator, may have had it meanwhile.
    if (!this.#isUntouched(id, known)) return this.#readLocked(id);
    const { said, envelope, content } = known;
    return { kind: "taken", envelope: said ?? decodeEnvelope(envelope, waiting), content };
  }

  #isUntouched(id: MessageId, { stamps }: Remembered): boolean {
    const stamp = (name: string) => {
      const facts = this.#disk.stat(name);
      return facts === null ? "" : stampOf(facts);
    };
    try {
      return stamp(busyName(id)) === stamps.envelope && stamp(contentName(id)) === stamps.content;
    } catch {
      return false;
    }
  }

  #readLocked(id: MessageId): Taken {
    try {
      const envelope = readEnvelope(this.#disk, busyName(id));
      this.#forget(id);
      this.#ahead.taken(id);
      return { kind: "taken", envelope, content: null };
    } catch (error) {
      return this.#leaveAsRead(id, this.#putBack(id), error);
    }
  }

  /** Throws what is not a matter of this file alone. */
  #leaveAsRead(id: MessageId, facts: FileFacts | null, error: unknown): Taken {
    if (facts !== null && isErrno(error, "EACCES", "EPERM", "EIO")) {
      return this.#leaveUnread(id, plainReason(error));
    }
    if (facts === null || !(error instanceof RelayError || isErrno(error, "ELOOP"))) {
      throw storageError(error, "read", envelopeName(id));
    }
    const why = error instanceof RelayError ? describeError(error) : plainReason(error);
    return this.#leave(id, facts, why);
  }

  #putBack(id: MessageId): FileFacts | null {
    try {
      this.#disk.rename(busyName(id), envelopeName(id));
      return this.#disk.stat(envelopeName(id));
    } catch (error) {
      throw storageError(error, "put back", busyName(id));
    }
  }

  #leave(id: MessageId, facts: FileFacts, why: string): Taken {
    this.#named.set(id, lookOf(facts));
    this.#tell(id, why);
    return { kind: "unusable" };
  }

  /** Other messages may be readable all the same. */
  #leaveUnread(id: MessageId, why: string): Taken {
    if (this.#unread.get(id) !== why) this.#tell(id, why);
    this.#unread.set(id, why);
    return { kind: "unusable" };
  }

  #tell(id: MessageId, why: string): void {
    const path = join(this.#disk.directory, envelopeName(id));
    this.#warn(`ignoring "${path}": cannot read envelope file: ${why}`);
  }

  #forget(id: MessageId): void {
    this.#named.delete(id);
    this.#unread.delete(id);
  }
}

function lookOf(facts: FileFacts): string {
  return `${facts.inode} ${facts.size} ${facts.changedMs}`;
}
