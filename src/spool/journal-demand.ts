/** Whether so many commits come within a second that sharing their syncs pays. */

const SECOND_MS = 1000;

export class Demand {
  readonly #enough: number;
  #since = Number.NEGATIVE_INFINITY;
  #count = 0;
  #before = 0;

  constructor(enough: number) {
    this.#enough = enough;
  }

  /** What `risen` has last said, if that is not too long ago. */
  isUp(nowMs: number): boolean {
    const passed = nowMs - this.#since;
    if (passed >= SECOND_MS) return passed < 2 * SECOND_MS && this.#count > this.#enough;
    return Math.max(this.#count, this.#before) > this.#enough;
  }

  /** Counts one more; true while this second, or the one before it, has had enough. */
  risen(nowMs: number): boolean {
    const passed = nowMs - this.#since;
    if (passed >= SECOND_MS) {
      this.#before = passed < 2 * SECOND_MS ? this.#count : 0;
      this.#since = nowMs;
      this.#count = 0;
    }
    this.#count += 1;
    return Math.max(this.#count, this.#before) > this.#enough;
  }
}
