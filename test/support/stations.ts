import type { RelayEvent } from "../../src/core/events.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { MemoryStore } from "./memory-store.ts";

/** What a journey needs, in memory; `events` fills with what was told. */
export function stations(changes: Partial<Stations> = {}) {
  const store = new MemoryStore();
  const events: RelayEvent[] = [];
  const requested: string[] = [];
  const at: Stations = {
    store,
    serverFilter: null,
    clientFilter: null,
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
