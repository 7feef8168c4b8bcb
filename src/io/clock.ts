/** The system's clock. The only place that asks for the time or sets a timer for its own sake. */
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => await delay(ms, undefined, { signal }),
};
