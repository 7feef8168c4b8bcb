/** Limits how many messages go to each smarthost in a time. */
import type { Clock } from "../core/clock.ts";

export interface Rate {
  readonly count: number;
  readonly periodMs: number;
}

/** One for an instance: it outlives the runs. */
export class Pace {
  readonly #rate: Rate | null;
  readonly #clock: Clock;
  /** When the last messages to each address went, oldest first; at most `count` of them. */
  readonly #sent = new Map<string, number[]>();

  constructor(rate: Rate | null, clock: Clock) {
    this.#rate = rate;
    this.#clock = clock;
  }

  get limited(): boolean {
    return this.#rate !== null;
  }

  /** Resolves when one more message may go there, to true if that took some time. Rejects when the signal is aborted. */
  async turn(address: string, signal: AbortSignal): Promise<boolean> {
    if (this.#rate === null) return false;
    const { count, periodMs } = this.#rate;
    const times = this.#sent.get(address) ?? [];
    this.#sent.set(address, times);
    // The turn is taken before the waiting, so that everybody who waits has one of his own.
    const now = this.#clock.monotonic();
    const before =
      times.length < count ? Number.NEGATIVE_INFINITY : (times[times.length - count] ?? 0);
    const turn = Math.max(now, before + periodMs);
    times.push(turn);
    if (times.length > count) times.shift();
    if (turn <= now) return false;
    await this.#clock.sleep(turn - now, signal);
    return true;
  }
}
