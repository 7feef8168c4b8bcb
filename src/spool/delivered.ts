/** Messages that are over, delivered or never accepted, and could not be removed then: never sent, removed when that is possible. */
import type { Clock } from "../core/clock.ts";
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { Gaps } from "./gaps.ts";
import { busyName, contentName, envelopeName } from "./names.ts";
import type { SpoolPlace } from "./place.ts";

interface Left {
  readonly names: readonly string[];
  /** The directory that they are in. */
  readonly place: string | null;
  readonly gaps: Gaps;
}

export interface DeliveredOptions {
  readonly disk: Disk;
  readonly place: SpoolPlace;
  readonly clock: Clock;
  /** Called when one is gone. */
  readonly removed: (id: MessageId) => void;
}

export class Delivered {
  readonly #options: DeliveredOptions;
  readonly #left = new Map<MessageId, Left>();

  constructor(options: DeliveredOptions) {
    this.#options = options;
  }

  /** `names`: its files, in the order in which they must go. `place`: of the directory that they are in. */
  add(
    id: MessageId,
    names: readonly string[] = [busyName(id), contentName(id)],
    place = this.#options.place.last,
  ): void {
    this.#left.set(id, { names, place, gaps: new Gaps(this.#options.clock) });
  }

  has(id: MessageId): boolean {
    return this.#left.has(id);
  }

  /** What still cannot be removed stays for another time: the longer it has, the later. `last`: there is none. */
  remove({ last = false } = {}): void {
    for (const [id, left] of this.#left) {
      if (!(last || left.gaps.isTime()) || !this.#gone(id, left)) continue;
      this.#left.delete(id);
      this.#options.removed(id);
    }
  }

  #gone(id: MessageId, { names, place }: Left): boolean {
    const { disk, place: present } = this.#options;
    let found = false;
    for (const name of names) {
      try {
        disk.remove(name);
        found = true;
      } catch (error) {
        if (!isErrno(error, "ENOENT")) return false;
        // Another forwarder has taken what was never accepted, and needs its content.
        if (name === envelopeName(id)) break;
      }
    }
    // Nothing there, as in any other directory?
    return found || present.is(place);
  }
}
