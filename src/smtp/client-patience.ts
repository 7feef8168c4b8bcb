/** How long a peer is waited for: one timer, wound up again for every reply, and one for the greeting. */

export class Patience {
  readonly #responseMs: number;
  readonly #overdue: () => void;
  #response: NodeJS.Timeout | null = null;
  #prompt: NodeJS.Timeout | null = null;

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

  stop(): void {
    this.greeted();
    if (this.#response !== null) clearTimeout(this.#response);
    this.#response = null;
  }
}
