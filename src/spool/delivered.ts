/** Messages that were delivered and could not be removed then: never sent again, removed when that is possible. */
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { busyName, contentName } from "./names.ts";

export class Delivered {
  readonly #disk: Disk;
  readonly #ids = new Set<MessageId>();

  constructor(disk: Disk) {
    this.#disk = disk;
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
