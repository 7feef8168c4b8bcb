/**
 * How often a long queue is looked over: whoever would do so for each new message, while thousands
 * wait for their time, would do nothing else.
 */
import type { Clock } from "../core/clock.ts";

/** Fewer messages may be looked over at will: what took long then was something else ... */
const LONG = 1000;
/** ... and so may more, when a look is faster than this ... */
const CHEAP_MS = 0.1;
/** ... and slower ones may take one part in so many of our time. */
const SHARE = 20;
/** New mail waits no longer than this for a look. */
const LONGEST_WAIT_MS = 2000;

/** One for an instance: it outlives the runs. */
export class Survey {
  readonly #clock: Clock;
  #next = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True when it is time for the next look. */
  get isDue(): boolean {
    return this.#next <= this.#clock.monotonic();
  }

  /** Resolves when it is, or the signal is aborted. */
  async turn(signal: AbortSignal): Promise<void> {
    const wait = this.#next - this.#clock.monotonic();
    if (wait <= 0) return;
    await this.#clock.sleep(wait, signal).catch(() => undefined);
  }

  /** Looks over so many messages, at once, and remembers how long it took. */
  look<T>(count: number, work: () => T): T {
    const started = this.#clock.monotonic();
    const found = work();
    const ended = this.#clock.monotonic();
    const took = ended - started;
    if (count >= LONG && took > CHEAP_MS)
      this.#next = ended + Math.min(took * SHARE, LONGEST_WAIT_MS);
    return found;
  }
}
