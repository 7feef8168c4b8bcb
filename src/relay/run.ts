/**
 * One forwarding run: every message that waits, each over a connection to its own smarthost. Messages
 * for the usual smarthost go one after the other; those that are routed elsewhere go beside them.
 */
import { describeError } from "../core/errors.ts";
import type { Filter } from "../core/filter.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Lease } from "../core/store.ts";
import type { Transport, Trouble } from "../core/transport.ts";
import {
  type Forwarded,
  forward,
  type Outbound,
  type Routed,
  route,
  type Stations,
} from "./journey.ts";
import { Lane } from "./lane.ts";

/** How a run ended. */
export interface RunResult {
  /** Messages that were taken in hand. */
  readonly tried: number;
  /** What ended it early, or went wrong last; null when nothing did. */
  readonly error: string | null;
}

/** Connections lost in a row before a way is given up: one message that kills its session holds up no others. */
const MAX_LOST = 3;
/** Connections to different smarthosts at a time. */
const MAX_LANES = 20;

/** When to stop: `soon` after the messages in hand, `now` at once. */
export interface Stop {
  readonly soon: AbortSignal;
  readonly now: AbortSignal;
}

export async function run(
  at: Stations,
  openTransport: () => Promise<Transport>,
  stop: Stop,
): Promise<RunResult> {
  const ids = await at.store.ready();
  return ids.length === 0
    ? { tried: 0, error: null }
    : await new Run(at, openTransport, stop).all(ids);
}

class Run {
  readonly #at: Stations;
  readonly #openTransport: () => Promise<Transport>;
  readonly #stop: Stop;
  readonly #lanes = new Map<string, Lane>();
  /** Addresses that are not to be tried again in this run. */
  readonly #unreachable = new Set<string>();
  /** Connections lost in a row, by address. */
  readonly #lost = new Map<string, number>();
  #tried = 0;
  #error: string | null = null;
  #ended = false;

  constructor(at: Stations, openTransport: () => Promise<Transport>, stop: Stop) {
    this.#at = at;
    this.#openTransport = openTransport;
    this.#stop = stop;
  }

  async all(ids: readonly MessageId[]): Promise<RunResult> {
    const router = this.#at.openRoutingFilter === null ? null : this.#at.openRoutingFilter();
    try {
      let left = ids;
      while (left.length > 0 && !this.#over) {
        left = await this.#pass(left, router);
        await this.#settled();
      }
    } finally {
      await Promise.all([...this.#lanes.values()].map((lane) => this.#close(lane)));
      await router?.[Symbol.asyncDispose]();
    }
    return { tried: this.#tried, error: this.#error };
  }

  get #over(): boolean {
    return this.#ended || this.#stop.soon.aborted;
  }

  /** Hands each message to the lane of its smarthost; returns those for which there was no room. */
  async #pass(ids: readonly MessageId[], router: Filter | null): Promise<MessageId[]> {
    const left: MessageId[] = [];
    for (const id of ids) {
      if (this.#over) break;
      const lease = await this.#at.store.lease(id);
      if (lease === null) continue;
      const routed = await this.#route(lease, router);
      const lane = routed === null ? null : await this.#laneFor(routed);
      if (routed !== null && lane !== null && !lane.full) {
        const usual = addressOf(lease) === "";
        lane.take(routed);
        if (usual) await lane.settled();
        continue;
      }
      await lease[Symbol.asyncDispose]();
      if (routed !== null) left.push(id);
    }
    return left;
  }

  /** null when nothing is left to be done with the message in this run. */
  async #route(lease: Lease, router: Filter | null): Promise<Routed | null> {
    if (this.#unreachable.has(addressOf(lease))) return null;
    this.#tried += 1;
    const { now } = this.#stop;
    const routed = await this.#guarded(lease, () => route(this.#at, lease, router, now));
    if (routed === null) return null;
    if (routed.kind === "over") {
      this.#judge(addressOf(lease), routed);
      return null;
    }
    return this.#unreachable.has(addressOf(lease)) ? null : routed;
  }

  /** null when there are too many, and all of them at work. */
  async #laneFor({ lease, smarthost }: Routed): Promise<Lane | null> {
    const key = JSON.stringify([addressOf(lease), smarthost.account]);
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    if (this.#lanes.size >= MAX_LANES && !(await this.#makeRoom())) return null;
    const address = addressOf(lease);
    const lane = new Lane({
      openTransport: this.#openTransport,
      openClientFilter: this.#at.openClientFilter,
      closed: () => this.#over || this.#unreachable.has(address),
      send: async (routed, open) => await this.#send(address, routed, open),
    });
    this.#lanes.set(key, lane);
    return lane;
  }

  async #send(address: string, routed: Routed, open: () => Promise<Outbound>): Promise<void> {
    const { lease } = routed;
    const outbound = await this.#guarded(lease, open);
    if (outbound === null) {
      // Our own secrets or keys cannot be used: no message will fare better.
      this.#ended = true;
      return;
    }
    const { now } = this.#stop;
    const sent = await this.#guarded(lease, () => forward(this.#at, routed, outbound, now));
    if (sent !== null) this.#judge(address, sent);
  }

  async #makeRoom(): Promise<boolean> {
    const [key, lane] = [...this.#lanes].find(([, one]) => one.idle) ?? [];
    if (key === undefined || lane === undefined) return false;
    this.#lanes.delete(key);
    await this.#close(lane);
    return true;
  }

  async #close(lane: Lane): Promise<void> {
    await lane.settled();
    await lane.close(!this.#stop.now.aborted);
  }

  async #settled(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map(async (lane) => await lane.settled()));
  }

  /** Storage trouble on one message, or a fault of ours: it stays queued, the others go on. */
  async #guarded<T>(lease: Lease, work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (this.#stop.now.aborted) return null;
      this.#error = describeError(error);
      const text = `cannot forward ${lease.id}: ${this.#error}`;
      this.#at.journal.tell({ kind: "note", level: "error", detail: false, text });
      return null;
    }
  }

  #judge(address: string, { outcome, next }: Forwarded): void {
    if (next === "stop") this.#ended = true;
    const trouble = outcome.kind === "failed" || outcome.kind === "queued" ? outcome.trouble : null;
    if (trouble === null) {
      this.#lost.delete(address);
      return;
    }
    this.#error = trouble.why;
    this.#at.journal.tell({ kind: "smarthost.failed", address, why: trouble.why });
    const lost = (this.#lost.get(address) ?? 0) + 1;
    this.#lost.set(address, lost);
    if (!isFinal(trouble) && lost < MAX_LOST) return;
    this.#unreachable.add(address);
    // Without the usual smarthost there is not much to do for a run.
    if (address === "") this.#ended = true;
  }
}

/** The smarthost cannot be reached or will not have us at all: asking again at once is no use. */
function isFinal(trouble: Trouble): boolean {
  return !trouble.connected || trouble.kind !== "connection";
}

/** "" for the usual smarthost. */
function addressOf(lease: Lease): string {
  return lease.envelope.forwardToAddress;
}
