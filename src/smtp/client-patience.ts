/**
 * How long a peer is waited for: one timer, wound up again for every reply, one for the greeting, and
 * one for all of a message, which goes on from one message to the next.
 */

export class Patience {
  readonly #responseMs: number;
  readonly #overdue: () => void;
  #response: NodeJS.Timeout | null = null;
  #prompt: NodeJS.Timeout | null = null;
  #total: { readonly timer: NodeJS.Timeout; readonly ms: number } | null = null;
  #over: (() => void) | null = null;

  /** `overdue` is called `responseMs` after the last `restart()`, also if nothing is awaited then; never if it is 0. */
  constructor(responseMs: number, overdue: () => void) {
    this.#responseMs = responseMs;
    this.#overdue = overdue;
  }

  restart(): void {
    if (this.#responseMs <= 0) return;
    if (this.#response === null) {
      // The socket is what keeps the process alive, if anything should.
      this.#response = setTimeout(this.#overdue, this.#responseMs).unref();
    } else {
      this.#response.refresh();
    }
  }

  /** Waits so long for a greeting and then does `instead`, unless `greeted()` comes first. */
  prompt(ms: number, instead: () => void): void {
    this.#prompt = setTimeout(instead, ms);
  }

  greeted(): void {
    if (this.#prompt !== null) clearTimeout(this.#prompt);
    this.#prompt = null;
  }

  /** Does `over` in so many milliseconds, 0 for never, unless `unlimited()` comes first. */
  limit(ms: number, over: () => void): void {
    this.#over = ms > 0 ? over : null;
    if (ms <= 0) return;
    if (this.#total?.ms === ms) {
      this.#total.timer.refresh();
      return;
    }
    if (this.#total !== null) clearTimeout(this.#total.timer);
    this.#total = { timer: setTimeout(() => this.#over?.(), ms).unref(), ms };
  }

  unlimited(): void {
    this.#over = null;
  }

  stop(): void {
    this.greeted();
    this.unlimited();
    if (this.#total !== null) clearTimeout(this.#total.timer);
    this.#total = null;
    if (this.#response !== null) clearTimeout(this.#response);
    this.#response = null;
  }
}
