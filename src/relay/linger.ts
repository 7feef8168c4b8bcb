/**
 * Runs that follow each other closely are made one: where mail comes steadily, a connection for each
 * message would cost more than sending it.
 */
import type { Clock } from "../core/clock.ts";

/** A run that begins so soon after another one expects more mail ... */
const CLOSE_MS = 500;
/** ... and waits so long for it, with its connections open. */
const WAIT_MS = 100;

/** One for an instance: it outlives the runs. */
export class Linger {
  readonly #clock: Clock;
  #ended = Number.NEGATIVE_INFINITY;
  #ringing = false;
  #wake: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True if a run that begins now is to wait for more mail at its end. */
  pays(): boolean {
    return this.#clock.monotonic() - this.#ended < CLOSE_MS;
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
