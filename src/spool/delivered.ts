/** Messages that are over, delivered or never accepted, and could not be removed then: never sent, removed when that is possible. */
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { busyName, contentName, envelopeName } from "./names.ts";

export class Delivered {
  readonly #disk: Disk;
  readonly #removed: (id: MessageId) => void;
  readonly #left = new Map<MessageId, readonly string[]>();

  /** `removed`: called when one is gone. */
  constructor(disk: Disk, removed: (id: MessageId) => void) {
    this.#disk = disk;
    this.#removed = removed;
  }

  /** `names`: its files, in the order in which they must go. */
  add(id: MessageId, names: readonly string[] = [busyName(id), contentName(id)]): void {
    this.#left.set(id, names);
  }

  has(id: MessageId): boolean {
    return this.#left.has(id);
  }

  /** What still cannot be removed stays for the next time. */
  remove(): void {
    for (const [id, names] of this.#left) {
      if (!this.#gone(id, names)) continue;
      this.#left.delete(id);
      this.#removed(id);
    }
  }

  #gone(id: MessageId, names: readonly string[]): boolean {
    for (const name of names) {
      try {
        this.#disk.remove(name);
      } catch (error) {
        if (!isErrno(error, "ENOENT")) return false;
        // Another forwarder has taken what was never accepted, and needs its content.
        if (name === envelopeName(id)) return true;
      }
    }
    return true;
  }
}
