/** Leases of ours that ended while their files could not be reached, in the directory that these are in: the next recovery there puts them back. */
import type { MessageId } from "../core/message-id.ts";
import type { SpoolPlace } from "./place.ts";

export class GivenUp {
  readonly #place: SpoolPlace;
  readonly #ids = new Map<string, Set<MessageId>>();

  constructor(place: SpoolPlace) {
    this.#place = place;
  }

  /** `from`: the directory as it was when the lease began. */
  add(id: MessageId, from = this.#place.last): void {
    // It may have been another one by then already: a lock that is not there is forgotten.
    for (const place of [from, this.#place.look()]) if (place !== null) this.#of(place).add(id);
  }

  /** True when a recovery may put some of them back. */
  isDue(): boolean {
    const any = [...this.#ids.values()].some((ids) => ids.size > 0);
    return any && this.here().size > 0;
  }

  /** Those of the directory that is there now; what is taken out is forgotten. */
  here(): Set<MessageId> {
    const place = this.#place.look();
    return place === null ? new Set() : this.#of(place);
  }

  #of(place: string): Set<MessageId> {
    const ids = this.#ids.get(place) ?? new Set();
    this.#ids.set(place, ids);
    return ids;
  }
}
