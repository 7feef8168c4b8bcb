/**
 * One forwarding run: every message that waits and may be tried, each over a connection to its own
 * smarthost. Messages for the usual smarthost are leased one by one as its connections get free;
 * those that are routed elsewhere go beside them.
 */
import { describeError } from "../core/errors.ts";
import type { Filter } from "../core/filter.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Lease } from "../core/store.ts";
import type { Transport } from "../core/transport.ts";
import { DeadEnds } from "./dead-ends.ts";
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
  /** True when the log says so already, message by message; absent when not. */
  readonly told?: boolean;
  /** Messages that are to be tried again; absent when there are none. */
  readonly waiting?: number;
}

/** Different smarthosts at a time. */
const MAX_LANES = 20;
/** The usual smarthost may keep its connections busy for so long before others are looked for behind its mail. */
const PATIENCE_MS = 2000;

export interface RunOptions {
  readonly openTransport: () => Promise<Transport>;
  /** Aborted when nothing more is to begin. */
  readonly soon: AbortSignal;
  /** Aborted when everything ends at once. */
  readonly now: AbortSignal;
  /** Somebody asks for this run: what was put off for later is tried too. */
  readonly forced: boolean;
}

export class Run {
  readonly #at: Stations;
  readonly #options: RunOptions;
  readonly #lanes = new Map<string, Lane>();
  /** Messages that this run has dealt with, as long as they are there. */
  readonly #seen = new Set<MessageId>();
  /** Those of them that a lane has. */
  readonly #held = new Set<MessageId>();
  readonly #dead: DeadEnds;
  /** Messages that were looked at, and go the usual way. */
  readonly #usual = new Set<MessageId>();
  #tried = 0;
  #waiting = 0;
  /** Messages that this pass has still to look at. */
  #backlog = 0;
  #error: string | null = null;
  #told = false;
  #ended = false;
  /** New mail may have come. */
  #more = true;
  #wake: () => void = () => undefined;
  /** One for everybody who waits for it. */
  #settling: Promise<void> | null = null;

  constructor(at: Stations, options: RunOptions) {
    this.#at = at;
    this.#options = options;
    this.#dead = new DeadEnds(at);
  }

  /** There may be new mail: it does not wait for the end of what is under way. */
  again(): void {
    this.#more = true;
    this.#wake();
  }

  /** Once. */
  async all(): Promise<RunResult> {
    const { openRoutingFilter, retrying } = this.#at;
    if (this.#options.forced) retrying?.agenda.waive();
    const router = openRoutingFilter === null ? null : openRoutingFilter();
    try {
      while (this.#more && !this.#over) await this.#passes(router);
      await this.#settled();
      await this.#planRest();
    } catch (error) {
      retrying?.agenda.rest();
      throw error;
    } finally {
      await Promise.all([...this.#lanes.values()].map((lane) => this.#close(lane)));
      await router?.[Symbol.asyncDispose]();
    }
    const told = this.#told ? { told: true } : {};
    const waiting = this.#waiting === 0 ? {} : { waiting: this.#waiting };
    return { tried: this.#tried, error: this.#error, ...told, ...waiting };
  }

  /** Where mail is tried again, nothing is left in the queue for nobody to look at. */
  async #planRest(): Promise<void> {
    const { retrying, store } = this.#at;
    if (retrying === null || this.#options.soon.aborted) return;
    if (this.#ended) retrying.agenda.rest();
    else {
      const ready = await store.ready();
      this.#at.survey.look(() => retrying.agenda.left(ready));
    }
  }

  get #over(): boolean {
    return this.#ended || this.#options.soon.aborted;
  }

  async #passes(router: Filter | null): Promise<void> {
    if (!this.#options.forced) await this.#at.survey.turn(this.#options.soon);
    this.#more = false;
    // Before the look into the queue: what comes back from a lane after it is in neither.
    const held = new Set(this.#held);
    const ready = await this.#at.store.ready();
    let left = this.#at.survey.look(() => {
      this.#at.retrying?.agenda.keep(ready, held);
      this.#forgetGone(ready, held);
      return ready.filter((id) => this.#isWanted(id));
    });
    while (left.length > 0 && !this.#over) {
      left = await this.#pass(left, router);
      if (left.length === 0) break;
      await this.#settledOrAsked();
      if (this.#more) return;
    }
    await this.#settledOrAsked();
  }

  /** A run may never end, where there is always new mail. */
  #forgetGone(ready: readonly MessageId[], held: ReadonlySet<MessageId>): void {
    const there = new Set(ready);
    for (const ids of [this.#seen, this.#usual]) {
      for (const id of ids) if (!there.has(id) && !held.has(id)) ids.delete(id);
    }
  }

  #isWanted(id: MessageId): boolean {
    const agenda = this.#at.retrying?.agenda;
    // A run may last longer than the time until the next attempt.
    if (this.#seen.has(id)) return agenda?.hasWaited(id) === true;
    return this.#options.forced || agenda?.isDue(id) !== false;
  }

  /** Resolves when nothing is under way any more, or there may be new mail. */
  async #settledOrAsked(): Promise<void> {
    if (this.#more) return;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#settling ??= this.#settled().then(() => {
      this.#settling = null;
      this.#wake();
    });
    await woken;
  }

  /** Hands each message to the lane of its smarthost; returns those for which there was no room. */
  async #pass(ids: readonly MessageId[], router: Filter | null): Promise<MessageId[]> {
    const left: MessageId[] = [];
    let patience = PATIENCE_MS;
    this.#backlog = ids.length;
    for (const id of ids) {
      this.#backlog -= 1;
      if (this.#over) break;
      const usual = this.#lanes.get(USUAL);
      const free = usual === undefined || (await usual.free(patience));
      if (this.#over) break;
      // From here on only what goes elsewhere is looked for.
      if (!free) patience = 0;
      if (!(await this.#takeOne(id, router, free))) left.push(id);
    }
    return left;
  }

  /** False when there was no room for the message, and it is still to be tried. */
  async #takeOne(id: MessageId, router: Filter | null, free: boolean): Promise<boolean> {
    if (!free && this.#usual.has(id)) return false;
    const lease = await this.#at.store.lease(id);
    if (lease === null) return true;
    const address = addressOf(lease);
    if (laneKey(lease) === USUAL && !free) {
      this.#usual.add(id);
      await lease[Symbol.asyncDispose]();
      return false;
    }
    this.#usual.delete(id);
    const hasWaited = this.#at.retrying?.agenda.forget(id) === true;
    const routed = await this.#route(lease, router, hasWaited);
    const lane = routed === null ? null : await this.#laneFor(laneKey(lease), addressOf(lease));
    if (routed !== null && lane !== null && !lane.full) {
      this.#seen.add(id);
      this.#held.add(id);
      lane.take(routed);
      return true;
    }
    await lease[Symbol.asyncDispose]();
    if (routed === null) this.#seen.add(id);
    return routed === null || this.#dead.has(address);
  }

  /** null when nothing is left to be done with the message in this run. */
  async #route(lease: Lease, router: Filter | null, hasWaited: boolean): Promise<Routed | null> {
    const { retrying } = this.#at;
    if (retrying === null && this.#dead.has(addressOf(lease))) return null;
    // Who has waited here does not care for what a clock says that may have been set.
    if (!this.#options.forced && !hasWaited && retrying?.isEarly(lease) === true) return null;
    this.#tried += 1;
    const { now } = this.#options;
    const routed = await this.#guarded(lease, () => route(this.#at, lease, router, now));
    if (routed === null) return null;
    if (routed.kind === "over") {
      this.#judge(addressOf(lease), null, routed);
      return null;
    }
    const waiting: Routed = { ...routed, hasWaited };
    if (await this.#waitsForPause(waiting)) return null;
    if (!this.#dead.has(addressOf(lease))) return waiting;
    this.#dead.putOff(lease);
    return null;
  }

  /** True when all its smarthosts are to be left alone; then it is put off, or has waited long enough. */
  async #waitsForPause(routed: Routed): Promise<boolean> {
    const { retrying } = this.#at;
    const pause = retrying?.pauseOf(routed.smarthosts) ?? null;
    if (retrying === null || pause === null || this.#options.forced) return false;
    this.#tried -= 1;
    await this.#guarded(routed.lease, async () => await retrying.wait(this.#at, routed, pause));
    return true;
  }

  /** null when there are too many, and all of them at work. */
  async #laneFor(key: string, address: string): Promise<Lane | null> {
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    if (this.#lanes.size >= MAX_LANES && !(await this.#makeRoom())) return null;
    const { clock, openClientFilter, parallel } = this.#at;
    const lane = new Lane({
      parallel,
      openTransport: this.#options.openTransport,
      openClientFilter,
      closed: () => this.#over || this.#dead.has(address),
      skipped: ({ lease }) => this.#dead.putOff(lease),
      released: ({ lease }) => this.#held.delete(lease.id),
      soon: this.#options.soon,
      send: async (routed, open) => await this.#send(address, routed, open),
      backlog: () => (key === USUAL ? this.#backlog : 0),
      monotonic: () => clock.monotonic(),
      sleep: async (ms, signal) => await clock.sleep(ms, signal),
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
    const { now } = this.#options;
    const sent = await this.#guarded(lease, () => forward(this.#at, routed, outbound, now));
    if (sent !== null) this.#judge(address, routed, sent);
  }

  async #makeRoom(): Promise<boolean> {
    const [key, lane] = [...this.#lanes].find(([one, { idle }]) => idle && one !== USUAL) ?? [];
    if (key === undefined || lane === undefined) return false;
    this.#lanes.delete(key);
    await this.#close(lane);
    return true;
  }

  async #close(lane: Lane): Promise<void> {
    await lane.settled();
    await lane.close(!this.#options.now.aborted);
  }

  async #settled(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map(async (lane) => await lane.settled()));
  }

  /** Storage trouble on one message, or a fault of ours: it stays queued, the others go on. */
  async #guarded<T>(lease: Lease, work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      const { soon, now } = this.#options;
      if (now.aborted || (soon.aborted && isErrorOf(soon, error))) return null;
      this.#error = describeError(error);
      this.#told = false;
      this.#at.retrying?.fault(lease.id);
      const text = `cannot forward ${lease.id}: ${this.#error}`;
      this.#at.journal.tell({ kind: "note", level: "error", detail: false, text });
      return null;
    }
  }

  #judge(address: string, routed: Routed | null, { outcome, next }: Forwarded): void {
    if (next === "stop") this.#ended = true;
    if (outcome.kind === "deferred") this.#waiting += 1;
    const trouble = "trouble" in outcome ? outcome.trouble : null;
    if (trouble === null) {
      this.#dead.isAlive(address);
      return;
    }
    this.#error = trouble.why;
    this.#told = this.#at.retrying !== null;
    // A paused smarthost has been told of already.
    if (this.#at.retrying === null || outcome.kind !== "queued") {
      this.#at.journal.tell({ kind: "smarthost.failed", address, why: trouble.why });
    }
    const dead = this.#dead.fails(address, routed?.smarthosts ?? null, trouble);
    // Without the usual smarthost there is not much to do for a run.
    if (dead && this.#at.retrying === null && address === "") this.#ended = true;
  }
}

/** True if it only says that a signal was aborted. */
function isErrorOf(signal: AbortSignal, error: unknown): boolean {
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}

/** "" for the usual smarthost. */
function addressOf(lease: Lease): string {
  return lease.envelope.forwardToAddress;
}

function laneKey(lease: Lease): string {
  const { forwardToAddress, clientAccountSelector } = lease.envelope;
  if (forwardToAddress === "" && clientAccountSelector === "") return USUAL;
  return JSON.stringify([addressOf(lease), lease.envelope.clientAccountSelector]);
}

const USUAL = JSON.stringify(["", ""]);
