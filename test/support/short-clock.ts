/** The system's clock, for stores that are left as a kill leaves them: what is due in seconds does not keep the test running. */
import { setTimeout } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/io/clock.ts";

export const shortClock: Clock = {
  ...systemClock,
  sleep: async (ms, signal) => {
    await setTimeout(ms, undefined, { signal, ref: ms < 1000 });
  },
};
