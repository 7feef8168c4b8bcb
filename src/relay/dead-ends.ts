/** Where a run need not go any more: to an address, or to that with one account. */
import type { Lease } from "../core/store.ts";
import type { Trouble } from "../core/transport.ts";
import type { Routed, Stations } from "./journey.ts";
import { type Heading, headingOf } from "./lanes.ts";

/** Connections lost in a row before a way is given up: one message that kills its session holds up no others. */
const MAX_LOST = 3;

export interface Failure {
  readonly trouble: Trouble;
  /** The message; null where no smarthost was chosen for it. */
  readonly routed: Routed | null;
  /** What the trouble was with each, where the next one was asked and mail is not tried again. */
  readonly others: readonly Trouble[];
}

type Surroundings = Pick<Stations, "journal" | "clock" | "retrying" | "stragglers">;

export class DeadEnds {
  readonly #at: Surroundings;
  /** Until when, by the monotonic clock: for the whole run, where mail is not tried again. By address. */
  readonly #until = new Map<string, number>();
  /** By lane: a refused login is no other account's trouble. */
  readonly #laneUntil = new Map<string, number>();
  /** By address: connections lost in a row. */
  readonly #lost = new Map<string, number>();

  constructor(at: Surroundings) {
    this.#at = at;
  }

  has(heading: Heading): boolean {
    if (this.#until.size === 0 && this.#laneUntil.size === 0) return false;
    const until = this.#end(heading);
    if (until === null) return false;
    if (this.#at.clock.monotonic() < until) return true;
    if (this.#until.delete(heading.address)) this.#lost.delete(heading.address);
    this.#laneUntil.delete(heading.lane);
    return false;
  }

  isAlive({ address }: Heading): void {
    this.#lost.delete(address);
  }

  /** Perhaps nothing more is to go there. */
  fails({ address, lane }: Heading, failure: Failure): void {
    const { retrying } = this.#at;
    const { routed } = failure;
    if (retrying !== null) {
      const pause = routed === null ? null : retrying.pauseOf(routed.smarthosts);
      if (pause === null) return;
      const until = this.#at.clock.monotonic() + pause.ms;
      if (pause.ofAccount) this.#laneUntil.set(lane, until);
      else this.#until.set(address, until);
    } else if (this.#isLast(address, failure)) {
      if (isOfAccount(failure)) this.#laneUntil.set(lane, Number.POSITIVE_INFINITY);
      else this.#until.set(address, Number.POSITIVE_INFINITY);
    }
  }

  /** A message for there is tried when its smarthost is. */
  putOff(lease: Lease): void {
    this.#at.journal.tell({ kind: "forward.skipped", id: lease.id, why: "left for another run" });
    const until = this.#end(headingOf(lease));
    if (until === null) return;
    this.#at.retrying?.agenda.defer(lease.id, until - this.#at.clock.monotonic());
  }

  #end({ address, lane }: Heading): number | null {
    const until = this.#until.get(address) ?? null;
    const laneUntil = this.#laneUntil.get(lane) ?? null;
    if (until === null || laneUntil === null) return until ?? laneUntil;
    return Math.max(until, laneUntil);
  }

  #isLast(address: string, { trouble, routed }: Failure): boolean {
    const isLost = !isFinal(trouble);
    if (isLost && routed !== null) this.#at.stragglers.lost(routed.lease.id);
    const lost = (this.#lost.get(address) ?? 0) + 1;
    this.#lost.set(address, lost);
    return !isLost || lost >= MAX_LOST;
  }
}

/** One smarthost that refuses the login of one account may take the mail of another. */
function isOfAccount({ trouble, others }: Failure): boolean {
  return [trouble, ...others].some(({ kind }) => kind === "authentication");
}

/** The smarthost cannot be reached or will not have us at all: asking again at once is no use. */
function isFinal(trouble: Trouble): boolean {
  return !trouble.connected || trouble.kind !== "connection";
}
