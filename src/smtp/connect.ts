/** Gets a connection to a smarthost, and tells the journal about it. */
import type { Clock } from "../core/clock.ts";
import type { Endpoint } from "../core/endpoint.ts";
import type { Journal } from "../core/events.ts";
import * as io from "../io/connect.ts";
import { localEnd } from "../io/local-end.ts";

export interface ConnectTerms {
  /** Local address; "0.0.0.0" and "::" only choose the family; null: any. */
  readonly interface: string | null;
  /** For resolving and connecting together; 0 for no limit. */
  readonly timeoutMs: number;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The peer of a unix socket is shown by the path it was found at. Rejects only when the signal is aborted. */
export async function connect(endpoint: Endpoint, terms: ConnectTerms): Promise<io.Connected> {
  const { journal } = terms;
  const made = await io.connect(endpoint, {
    ...terms,
    steps: {
      resolving: (address) => journal.tell({ kind: "smarthost.resolving", address }),
      connecting: (address) => journal.tell({ kind: "smarthost.connecting", address }),
    },
  });
  if (made.kind === "failed") return made;
  const peer = endpoint.kind === "unix" ? { address: endpoint.path, port: 0 } : made.peer;
  const ends = { peer, local: localEnd(made.socket) };
  journal.tell({ kind: "smarthost.connected", ...ends });
  made.socket.once("close", () => journal.tell({ kind: "smarthost.disconnected", ...ends }));
  return { ...made, peer };
}
