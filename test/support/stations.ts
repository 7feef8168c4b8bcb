import type { RelayEvent } from "../../src/core/events.ts";
import type { OpenFilter, Verdict } from "../../src/core/filter.ts";
import type { Transport } from "../../src/core/transport.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { Linger } from "../../src/relay/linger.ts";
import { Pace } from "../../src/relay/pace.ts";
import { Run, type RunOptions } from "../../src/relay/run.ts";
import { Stragglers } from "../../src/relay/stragglers.ts";
import { Survey } from "../../src/relay/survey.ts";
import type { RunResult } from "../../src/relay/tally.ts";
import { MemoryStore } from "./memory-store.ts";

/** A filter that says the same to every message. */
export function always(verdict: Verdict): OpenFilter {
  return () => ({ run: async () => verdict, [Symbol.asyncDispose]: async () => undefined });
}

/** What a journey needs, in memory; `events` fills with what was told. */
export function stations(changes: Partial<Stations> = {}) {
  const store = new MemoryStore();
  const events: RelayEvent[] = [];
  const requested: string[] = [];
  const at: Stations = {
    store,
    openServerFilter: null,
    openClientFilter: null,
    openRoutingFilter: null,
    route: (envelope) => [
      {
        address: envelope.forwardToAddress || "smarthost.test:25",
        account: envelope.clientAccountSelector,
      },
    ],
    recipients: "all",
    retrying: null,
    parallel: 1,
    pace: new Pace(null, systemClock),
    survey: new Survey(systemClock),
    stragglers: new Stragglers(),
    linger: new Linger(systemClock),
    reporter: null,
    delayWarningSeconds: null,
    journal: { tell: (event) => events.push(event), detail: false },
    requestRun: (reason) => requested.push(reason),
    clock: systemClock,
    ...changes,
  };
  return { at, store, events, requested };
}

const never = new AbortController().signal;

/** One run over what waits. */
export async function run(
  at: Stations,
  openTransport: () => Promise<Transport>,
  given: Partial<RunOptions> = {},
): Promise<RunResult> {
  return await new Run(at, {
    openTransport,
    soon: never,
    now: never,
    forced: false,
    ...given,
  }).all();
}
