import type { RelayEvent } from "../../src/core/events.ts";
import type { OpenFilter, Verdict } from "../../src/core/filter.ts";
import type { Stations } from "../../src/relay/journey.ts";
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
    route: (envelope) => ({
      address: envelope.forwardToAddress || "smarthost.test:25",
      account: envelope.clientAccountSelector,
    }),
    recipients: "all",
    journal: { tell: (event) => events.push(event), detail: false },
    requestRun: (reason) => requested.push(reason),
    monotonic: () => 0,
    ...changes,
  };
  return { at, store, events, requested };
}
