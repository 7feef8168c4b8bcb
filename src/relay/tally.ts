/** What a run comes to. */

/** How a run ended. */
export interface RunResult {
  /** Messages that were taken in hand. */
  readonly tried: number;
  /** What ended it early, or went wrong last; null when nothing did. */
  readonly error: string | null;
  /** True when the log says so already, message by message; absent when not. */
  readonly told?: boolean;
  /** Messages that are to be tried again; absent when there are none. */
  readonly waiting?: number;
}

/** Of messages in a row that cannot be locked, those that are told without being asked for detail. */
const FEW_STUCK = 3;
/** So many of them, and the trouble is not theirs: no other will fare better. */
const MANY_STUCK = 1000;

/** Kept while a run lasts. */
export class Tally {
  tried = 0;
  waiting = 0;
  #error: string | null = null;
  #told = false;
  /** Messages in a row that could not be locked. */
  #stuck = 0;

  /** `told`: the log says so already. */
  wrong(why: string, told: boolean): void {
    this.#error = why;
    this.#told = told;
  }

  /** A message was locked, or there was nothing to lock. */
  leased(): void {
    this.#stuck = 0;
  }

  /** A message could not be locked. False when there were so many that it is no use to go on. */
  stuck(): boolean {
    this.#stuck += 1;
    return this.#stuck <= MANY_STUCK;
  }

  /** True when the last ones in a row are worth no more than a line for those who want detail. */
  get isOneOfMany(): boolean {
    return this.#stuck > FEW_STUCK;
  }

  get result(): RunResult {
    const told = this.#told ? { told: true } : {};
    const waiting = this.waiting === 0 ? {} : { waiting: this.waiting };
    return { tried: this.tried, error: this.#error, ...told, ...waiting };
  }
}
