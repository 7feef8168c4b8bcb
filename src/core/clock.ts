/** Time, as a port, so that tests need not wait. */

export interface Clock {
  /** Milliseconds since 1970 by the wall clock: for names and log lines only. */
  now(): number;
  /** Milliseconds that never go back: for every delay and deadline. */
  monotonic(): number;
  /** Resolves after so many milliseconds; rejects with the signal's reason when it is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}
