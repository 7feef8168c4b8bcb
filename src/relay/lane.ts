/** The way to one smarthost: a queue of leased messages, sent one after the other over a connection that is kept. */
import type { Filter } from "../core/filter.ts";
import type { Transport } from "../core/transport.ts";
import type { Outbound, Routed } from "./journey.ts";

/** Leased messages that wait in one lane at most: the rest is left in the queue for the other forwarders. */
const MAX_WAITING = 100;

export interface LaneOptions {
  readonly openTransport: () => Promise<Transport>;
  readonly openClientFilter: (() => Filter & AsyncDisposable) | null;
  /** Sends one message over what is kept for this way, which is opened when it is first asked for. Does not throw. */
  readonly send: (routed: Routed, open: () => Promise<Outbound>) => Promise<void>;
  /** True when nothing more is to be sent this way. */
  readonly closed: () => boolean;
}

export class Lane {
  readonly #options: LaneOptions;
  readonly #waiting: Routed[] = [];
  #outbound: OpenOutbound | null = null;
  #working: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  get full(): boolean {
    return this.#waiting.length >= MAX_WAITING;
  }

  get idle(): boolean {
    return !this.#busy;
  }

  /** Takes a message over, its lease included. */
  take(routed: Routed): void {
    this.#waiting.push(routed);
    if (!this.#busy) this.#working = this.#work();
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    await this.#working;
  }

  /** Says QUIT if `politely`, and closes. */
  async close(politely: boolean): Promise<void> {
    await this.#working;
    const outbound = this.#outbound;
    this.#outbound = null;
    if (outbound === null) return;
    if (politely) await outbound.transport.quit();
    await outbound.transport[Symbol.asyncDispose]();
    await outbound.clientFilter?.[Symbol.asyncDispose]();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await using _ = next.lease;
      if (this.#options.closed()) continue;
      await this.#options.send(next, async () => (this.#outbound ??= await this.#open()));
    }
    this.#busy = false;
  }

  async #open(): Promise<OpenOutbound> {
    const { openTransport, openClientFilter } = this.#options;
    const transport = await openTransport();
    return { transport, clientFilter: openClientFilter === null ? null : openClientFilter() };
  }
}

interface OpenOutbound extends Outbound {
  readonly clientFilter: (Filter & AsyncDisposable) | null;
}
