/** The system's clock. The only place that asks for the time or sets a timer for its own sake. */
import type { Clock } from "../core/clock.ts";

/** A timer for longer would end at once. */
const LONGEST_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    let left = ms;
    do {
      await delay(Math.min(left, LONGEST_MS), signal);
      left -= LONGEST_MS;
    } while (left > 0);
  },
};

/** As node:timers/promises has it, without an error of its own, and its stack, for each wait that is cut short. */
function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal.addEventListener("abort", abort, { once: true });
  });
}
