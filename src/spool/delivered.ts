/** Messages that are over, delivered or never accepted, and could not be removed then: never sent, removed when that is possible. */
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { busyName, contentName, envelopeName } from "./names.ts";
import type { SpoolPlace } from "./place.ts";

interface Left {
  readonly names: readonly string[];
  /** The directory that they are in. */
  readonly place: string | null;
}

export class Delivered {
  readonly #disk: Disk;
  readonly #place: SpoolPlace;
  readonly #removed: (id: MessageId) => void;
  readonly #left = new Map<MessageId, Left>();

  /** `removed`: called when one is gone. */
  constructor(disk: Disk, place: SpoolPlace, removed: (id: MessageId) => void) {
    this.#disk = disk;
    this.#place = place;
    this.#removed = removed;
  }

  /** `names`: its files, in the order in which they must go. `place`: of the directory that they are in. */
  add(
    id: MessageId,
    names: readonly string[] = [busyName(id), contentName(id)],
    place = this.#place.last,
  ): void {
    this.#left.set(id, { names, place });
  }

  has(id: MessageId): boolean {
    return this.#left.has(id);
  }

  /** What still cannot be removed stays for the next time. */
  remove(): void {
    for (const [id, left] of this.#left) {
      if (!this.#gone(id, left)) continue;
      this.#left.delete(id);
      this.#removed(id);
    }
  }

  #gone(id: MessageId, { names, place }: Left): boolean {
    let found = false;
    for (const name of names) {
      try {
        this.#disk.remove(name);
        found = true;
      } catch (error) {
        if (!isErrno(error, "ENOENT")) return false;
        // Another forwarder has taken what was never accepted, and needs its content.
        if (name === envelopeName(id)) break;
      }
    }
    // Nothing there, as in any other directory?
    return found || this.#place.is(place);
  }
}
