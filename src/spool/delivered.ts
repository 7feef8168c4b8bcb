/** Messages that were delivered and could not be removed then: never sent again, removed when that is possible. */
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { busyName, contentName } from "./names.ts";

export class Delivered {
  readonly #disk: Disk;
  readonly #removed: (id: MessageId) => void;
  readonly #ids = new Set<MessageId>();

  /** `removed`: called when one is gone. */
  constructor(disk: Disk, removed: (id: MessageId) => void) {
    this.#disk = disk;
    this.#removed = removed;
  }

  add(id: MessageId): void {
    this.#ids.add(id);
  }

  has(id: MessageId): boolean {
    return this.#ids.has(id);
  }

  /** What still cannot be removed stays for the next time. */
  remove(): void {
    for (const id of this.#ids) {
      if (!this.#gone(busyName(id))) continue;
      this.#gone(contentName(id));
      this.#ids.delete(id);
      this.#removed(id);
    }
  }

  #gone(name: string): boolean {
    try {
      this.#disk.remove(name);
      return true;
    } catch (error) {
      return isErrno(error, "ENOENT");
    }
  }
}
