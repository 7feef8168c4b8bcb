/** Where a run need not go any more: by the address of a message, "" for the usual smarthost. */
import type { Lease } from "../core/store.ts";
import type { Trouble } from "../core/transport.ts";
import type { Routed, Stations } from "./journey.ts";

/** Connections lost in a row before a way is given up: one message that kills its session holds up no others. */
const MAX_LOST = 3;

export class DeadEnds {
  readonly #at: Pick<Stations, "clock" | "retrying">;
  /** Until when, by the monotonic clock: for the whole run, where mail is not tried again. */
  readonly #until = new Map<string, number>();
  /** Connections lost in a row. */
  readonly #lost = new Map<string, number>();

  constructor(at: Pick<Stations, "clock" | "retrying">) {
    this.#at = at;
  }

  has(address: string): boolean {
    const until = this.#until.get(address);
    if (until === undefined) return false;
    if (this.#at.clock.monotonic() < until) return true;
    this.#until.delete(address);
    this.#lost.delete(address);
    return false;
  }

  isAlive(address: string): void {
    this.#lost.delete(address);
  }

  /** True if nothing more is to go there. */
  fails(address: string, smarthosts: Routed["smarthosts"] | null, trouble: Trouble): boolean {
    const lost = (this.#lost.get(address) ?? 0) + 1;
    this.#lost.set(address, lost);
    if (!isFinal(trouble) && lost < MAX_LOST) return false;
    this.#until.set(address, this.#ends(smarthosts, trouble));
    return true;
  }

  /** A message for there is tried when its smarthost is. */
  putOff({ id, envelope }: Lease): void {
    const until = this.#until.get(envelope.forwardToAddress);
    if (until === undefined) return;
    this.#at.retrying?.agenda.defer(id, until - this.#at.clock.monotonic());
  }

  #ends(smarthosts: Routed["smarthosts"] | null, trouble: Trouble): number {
    const { retrying, clock } = this.#at;
    if (retrying === null || smarthosts === null) return Number.POSITIVE_INFINITY;
    const [used = smarthosts[0]] = retrying.usable(smarthosts);
    retrying.fails(used.address, trouble);
    return clock.monotonic() + (retrying.pauseOf(smarthosts)?.ms ?? 0);
  }
}

/** The smarthost cannot be reached or will not have us at all: asking again at once is no use. */
function isFinal(trouble: Trouble): boolean {
  return !trouble.connected || trouble.kind !== "connection";
}
