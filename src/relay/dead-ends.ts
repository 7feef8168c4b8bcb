/** Where a run need not go any more: by the address of a message, "" for the usual smarthost. */
import type { Lease } from "../core/store.ts";
import type { Trouble } from "../core/transport.ts";
import type { Routed, Stations } from "./journey.ts";
import type { Retrying } from "./retrying.ts";

/** Connections lost in a row before a way is given up: one message that kills its session holds up no others. */
const MAX_LOST = 3;

export class DeadEnds {
  readonly #at: Pick<Stations, "clock" | "journal" | "retrying">;
  /** Until when, by the monotonic clock: for the whole run, where mail is not tried again. */
  readonly #until = new Map<string, number>();
  /** Connections lost in a row. */
  readonly #lost = new Map<string, number>();

  constructor(at: Pick<Stations, "clock" | "journal" | "retrying">) {
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
    const until =
      this.#at.retrying === null
        ? this.#endOfRun(address, trouble)
        : this.#endOfPause(this.#at.retrying, smarthosts);
    if (until === null) return false;
    this.#until.set(address, until);
    return true;
  }

  /** A message for there is tried when its smarthost is. */
  putOff({ id, envelope }: Lease): void {
    this.#at.journal.tell({ kind: "forward.skipped", id, why: "left for another run" });
    const until = this.#until.get(envelope.forwardToAddress);
    if (until === undefined) return;
    this.#at.retrying?.agenda.defer(id, until - this.#at.clock.monotonic());
  }

  #endOfRun(address: string, trouble: Trouble): number | null {
    const lost = (this.#lost.get(address) ?? 0) + 1;
    this.#lost.set(address, lost);
    return isFinal(trouble) || lost >= MAX_LOST ? Number.POSITIVE_INFINITY : null;
  }

  #endOfPause(retrying: Retrying, smarthosts: Routed["smarthosts"] | null): number | null {
    const pause = smarthosts === null ? null : retrying.pauseOf(smarthosts);
    return pause === null ? null : this.#at.clock.monotonic() + pause.ms;
  }
}

/** The smarthost cannot be reached or will not have us at all: asking again at once is no use. */
function isFinal(trouble: Trouble): boolean {
  return !trouble.connected || trouble.kind !== "connection";
}
