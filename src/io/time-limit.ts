/** One time limit for work of several steps, together with the wish of others to stop it. */
import type { Clock } from "../core/clock.ts";

export class TimeLimit {
  readonly timeoutMs: number;
  readonly #clock: Clock;
  readonly #started: number;

  /** Starts at once; 0 for no limit. */
  constructor(timeoutMs: number, clock: Clock) {
    this.timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#started = clock.monotonic();
  }

  /** Milliseconds, at least 1; 0 for no limit. */
  left(): number {
    if (this.timeoutMs === 0) return 0;
    return Math.max(1, this.timeoutMs - (this.#clock.monotonic() - this.#started));
  }

  /** Calls `stop` once, when the time is over or the signal is aborted. Dispose to be forgotten. */
  watch(signal: AbortSignal, stop: (why: "timeout" | "abort") => void): Disposable {
    const abort = (): void => stop("abort");
    const ms = this.left();
    const timer = ms > 0 ? setTimeout(() => stop("timeout"), ms) : null;
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    return {
      [Symbol.dispose]: () => {
        if (timer !== null) clearTimeout(timer);
        signal.removeEventListener("abort", abort);
      },
    };
  }
}

/** E-MailRelay's text about a service that does not answer. Source: R9.2. */
export function noResponse({ timeoutMs }: TimeLimit, address: string): string {
  return `response timeout: no response after ${timeoutMs / 1000}s while connected to ${address}`;
}
