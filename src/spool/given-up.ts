/**
 * Leases of ours that ended while their files could not be reached, and the directories that these may be in: the
 * next recovery there puts them back, and one in a copy of the directory, which has the same locks.
 */
import type { Clock } from "../core/clock.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { Gaps } from "./gaps.ts";
import { busyName } from "./names.ts";
import type { SpoolPlace } from "./place.ts";

/** The oldest of more are forgotten: their directories have not come back. */
const MAX_LEASES = 1000;

interface Lost {
  readonly places: Set<string>;
  readonly gaps: Gaps;
}

export class GivenUp {
  readonly #disk: Disk;
  readonly #place: SpoolPlace;
  readonly #clock: Clock;
  /** The oldest first. */
  readonly #leases = new Map<MessageId, Lost>();
  /** The directory that was there at the last occasion. */
  #seen: string | null = null;

  constructor(disk: Disk, place: SpoolPlace, clock: Clock) {
    this.#disk = disk;
    this.#place = place;
    this.#clock = clock;
  }

  /** `from`: the directory as it was when the lease began. */
  add(id: MessageId, from = this.#place.last): void {
    const places = this.#leases.get(id)?.places ?? new Set();
    this.#seen = this.#place.look();
    // It may have been another one by then already: a lock that is not there is forgotten.
    for (const place of [from, this.#seen]) if (place !== null) places.add(place);
    this.forget(id);
    this.#leases.set(id, { places, gaps: new Gaps(this.#clock) });
    const [oldest] = this.#leases.keys();
    if (this.#leases.size > MAX_LEASES && oldest !== undefined) this.forget(oldest);
  }

  /** True when a recovery may put some of them back. */
  isDue(): boolean {
    if (this.#leases.size === 0) return false;
    const here = this.#place.look();
    // One that comes back is not to wait for the next time.
    const isOther = here !== this.#seen;
    this.#seen = here;
    if (here === null) return false;
    const due = [...this.#leases].filter(([, { gaps }]) => gaps.isTime() || isOther);
    return due.some(([id, { places }]) => places.has(here) || this.#isLocked(id));
  }

  /** In whatever directory. */
  has(id: MessageId): boolean {
    return this.#leases.has(id);
  }

  /** True when it was given up in the directory that is there now. */
  isHere(id: MessageId): boolean {
    return this.#leases.get(id)?.places.has(this.#place.look() ?? "") ?? false;
  }

  /** It was put back. */
  forget(id: MessageId): void {
    this.#leases.delete(id);
  }

  /** Forgets those whose locks are not in the directory that is there now; what waits for another one stays. */
  settle(isGone: (id: MessageId) => boolean): void {
    if (this.#leases.size === 0) return;
    const here = this.#place.look();
    if (here === null) return;
    const gone = [...this.#leases].filter(([id, { places }]) => places.has(here) && isGone(id));
    // Moved away while we looked?
    if (gone.length === 0 || !this.#place.is(here)) return;
    for (const [id, { places }] of gone) {
      places.delete(here);
      if (places.size === 0) this.forget(id);
    }
  }

  #isLocked(id: MessageId): boolean {
    try {
      return this.#disk.stat(busyName(id)) !== null;
    } catch {
      return true; // The recovery tells what is wrong.
    }
  }
}
