/** Limits how many messages go to each smarthost in a time. */
import type { Clock } from "../core/clock.ts";

export interface Rate {
  readonly count: number;
  readonly periodMs: number;
}

/** Of fewer smarthosts than that everything is remembered. */
const MANY = 1000;

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

  /** True if one more message may go there at once. */
  isFree(address: string): boolean {
    return this.#rate === null || this.#nextTurn(address, this.#rate) <= this.#clock.monotonic();
  }

  /** Resolves when one more message may go there, to true if that took some time. Rejects when the signal is aborted. */
  async turn(address: string, signal: AbortSignal): Promise<boolean> {
    if (this.#rate === null) return false;
    const now = this.#clock.monotonic();
    this.#forgetOld(now - this.#rate.periodMs);
    // The turn is taken before the waiting, so that everybody who waits has one of his own.
    const turn = Math.max(now, this.#nextTurn(address, this.#rate));
    const times = this.#sent.get(address) ?? [];
    this.#sent.set(address, times);
    times.push(turn);
    if (times.length > this.#rate.count) times.shift();
    if (turn <= now) return false;
    await this.#clock.sleep(turn - now, signal);
    return true;
  }

  /** By the monotonic clock. */
  #nextTurn(address: string, { count, periodMs }: Rate): number {
    const times = this.#sent.get(address) ?? [];
    return times.length < count ? Number.NEGATIVE_INFINITY : (times[0] ?? 0) + periodMs;
  }

  #forgetOld(before: number): void {
    if (this.#sent.size < MANY) return;
    for (const [address, times] of this.#sent) {
      if ((times.at(-1) ?? 0) < before) this.#sent.delete(address);
    }
  }
}
