/** When to try again what may never succeed: at each occasion for some seconds, then ever more seldom. */
import type { Clock } from "../core/clock.ts";

const EAGER_MS = 5000;
/** Then a gap is one part in so many of the time that has passed: a second at first ... */
const SHARE = 5;
/** ... and at the most so long. */
const LONGEST_MS = 60_000;

export class Gaps {
  readonly #clock: Clock;
  readonly #since: number;
  #next: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.monotonic();
    this.#next = this.#since;
  }

  /** True when it is to be tried now. */
  isTime(): boolean {
    const now = this.#clock.monotonic();
    if (now < this.#next) return false;
    const age = now - this.#since;
    if (age >= EAGER_MS) this.#next = now + Math.min(age / SHARE, LONGEST_MS);
    return true;
  }
}
