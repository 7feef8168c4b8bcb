/** The system's clock. The only place that asks for the time or sets a timer for its own sake. */
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";

/** A timer for longer would end at once. */
const LONGEST_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    let left = ms;
    do {
      await delay(Math.min(left, LONGEST_MS), undefined, { signal });
      left -= LONGEST_MS;
    } while (left > 0);
  },
};
