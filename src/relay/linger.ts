/**
 * Runs that follow each other closely are made one: where mail comes steadily, a connection for each
 * message would cost more than sending it.
 */
import type { Clock } from "../core/clock.ts";

/** When so many runs in a row have begun so soon after the one before, more mail is expected ... */
const MANY = 5;
const CLOSE_MS = 500;
/** ... and a run waits so long for it, with its connections open. */
const WAIT_MS = 100;

/** One for an instance: it outlives the runs. */
export class Linger {
  readonly #clock: Clock;
  #ended = Number.NEGATIVE_INFINITY;
  #inARow = 0;
  #ringing = false;
  #wake: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Once for each run that begins: true if it is to wait for more mail at its end. */
  began(): boolean {
    const isClose = this.#clock.monotonic() - this.#ended < CLOSE_MS;
    this.#inARow = isClose ? this.#inARow + 1 : 0;
    return this.#inARow >= MANY;
  }

  /** A run has ended, with something sent. */
  ended(): void {
    this.#ended = this.#clock.monotonic();
  }

  /** Resolves when `more()` holds after `wake()`, when it has taken too long, or when the signal is aborted. */
  async wait(more: () => boolean, signal: AbortSignal): Promise<void> {
    const until = this.#clock.monotonic() + WAIT_MS;
    while (!more() && !signal.aborted && this.#clock.monotonic() < until) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#ring(signal);
      });
    }
  }

  /** There may be more. */
  wake(): void {
    this.#wake();
  }

  /** One timer at a time, not one for each message. */
  #ring(signal: AbortSignal): void {
    if (this.#ringing) return;
    this.#ringing = true;
    const ring = () => {
      this.#ringing = false;
      this.#wake();
    };
    this.#clock.sleep(WAIT_MS, signal).then(ring, ring);
  }
}
