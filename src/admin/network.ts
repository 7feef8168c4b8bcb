/** Counts and lists the connections of both directions, from the events that tell of them. */
import type { Cause } from "../core/control.ts";
import { displayAddress } from "../core/endpoint.ts";
import type { Peer, RelayEvent } from "../core/events.ts";

/** What `network:` events are about. */
export type NetworkChange = "in: start" | "in: stop" | "out: start" | "out: stop" | "listen: start";

type Of<Kind extends RelayEvent["kind"]> = Extract<RelayEvent, { kind: Kind }>;
type Changes = {
  readonly [Kind in RelayEvent["kind"]]?: (event: Of<Kind>, cause: Cause) => NetworkChange | null;
};

export class Network {
  readonly #in = new Ledger();
  readonly #out = new Ledger();
  /**
   * A smarthost is being looked for: that counts as a connection out before it is one. Of several
   * at a time the first is told at once, the others when they are connected.
   */
  readonly #approaching: Record<Cause, boolean> = { flush: false, other: false };

  readonly #changes: Changes = {
    "listener.opened": () => "listen: start",
    "session.opened": (event) => this.#opened(event),
    "session.closed": ({ peer }) => (this.#in.leave(peer) ? "in: stop" : null),
    "smarthost.resolving": (_, cause) => this.#approach(cause),
    "smarthost.connecting": (_, cause) => this.#approach(cause),
    "smarthost.connected": (event, cause) => this.#connected(event, cause),
    "smarthost.disconnected": ({ peer }) => (this.#out.leave(peer) ? "out: stop" : null),
    // Nothing tells that a connection could not be made, but what comes of it.
    "message.queued": ({ delivery }, cause) => (delivery.peer === "" ? this.#giveUp(cause) : null),
    "message.failed": ({ delivery }, cause) => (delivery.peer === "" ? this.#giveUp(cause) : null),
    "forward.idle": (_, cause) => this.#giveUp(cause),
  };

  /** True while we are connected to a smarthost. */
  get sends(): boolean {
    return this.#out.busy;
  }

  /** Takes note of an event; what changed by it, or null. */
  take(event: RelayEvent, cause: Cause): NetworkChange | null {
    // The table's entry for a kind takes just that kind: TypeScript cannot follow it from here.
    const change = this.#changes[event.kind] as
      | ((event: RelayEvent, cause: Cause) => NetworkChange | null)
      | undefined;
    return change?.(event, cause) ?? null;
  }

  /** What `status` says, after the addresses that are listened on. */
  status(): string[] {
    return [
      `OUT started: ${this.#out.started}`,
      `OUT finished: ${this.#out.finished}`,
      ...this.#out.list((local, peer) => `OUT: ${local} -> ${peer}`),
      `IN started: ${this.#in.started}`,
      `IN finished: ${this.#in.finished}`,
      ...this.#in.list((local, peer) => `IN: ${local} <- ${peer}`),
    ];
  }

  #opened({ local, peer }: Of<"session.opened">): NetworkChange {
    this.#in.begin();
    this.#in.join(peer, local);
    return "in: start";
  }

  #connected({ local, peer }: Of<"smarthost.connected">, cause: Cause): NetworkChange | null {
    const began = this.#approach(cause);
    this.#approaching[cause] = false;
    this.#out.join(peer, () => local);
    return began;
  }

  #approach(cause: Cause): NetworkChange | null {
    if (this.#approaching[cause]) return null;
    this.#approaching[cause] = true;
    this.#out.begin();
    return "out: start";
  }

  #giveUp(cause: Cause): NetworkChange | null {
    if (!this.#approaching[cause]) return null;
    this.#approaching[cause] = false;
    this.#out.abandon();
    return "out: stop";
  }
}

/** The connections of one direction. */
class Ledger {
  started = 0;
  finished = 0;
  /** Our end of each connection. They are told apart by the object: clients of unix sockets all look the same. */
  readonly #open = new Map<Peer, () => string>();

  get busy(): boolean {
    return this.#open.size > 0;
  }

  begin(): void {
    this.started += 1;
  }

  join(peer: Peer, local: () => string): void {
    this.#open.set(peer, local);
  }

  /** False for a connection that was made before we looked. */
  leave(peer: Peer): boolean {
    if (!this.#open.delete(peer)) return false;
    this.finished += 1;
    return true;
  }

  abandon(): void {
    this.finished += 1;
  }

  list(line: (local: string, peer: string) => string): string[] {
    return [...this.#open].map(([peer, local]) =>
      line(local(), displayAddress(peer.address, peer.port)),
    );
  }
}
