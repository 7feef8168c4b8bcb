/**
 * One forwarding run: every message that waits and may be tried, each over a connection to its own
 * smarthost. Messages for the usual smarthost are leased one by one as its connections get free;
 * those that are routed elsewhere go beside them.
 */
import { describeError, isErrorOf, RelayError } from "../core/errors.ts";
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
import { type Heading, headingOf, Lanes, laneKey, USUAL, USUALLY } from "./lanes.ts";
import { Roll } from "./roll.ts";
import { type RunResult, Tally } from "./tally.ts";
import { isPutOff } from "./unrouted.ts";

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
  readonly #lanes: Lanes;
  readonly #roll: Roll;
  readonly #dead: DeadEnds;
  readonly #tally = new Tally();
  /** Messages that this pass has still to look at. */
  #backlog = 0;
  #ended = false;
  /** The last one that a message was given to. */
  #transport: Transport | null = null;
  /** New mail may have come. */
  #more = true;
  /** Somebody asks in person for what is there now. */
  #asked: boolean;
  #wake: () => void = () => undefined;
  /** Ends the wait for the next look into the queue. */
  #hurry: () => void = () => undefined;
  /** One for everybody who waits for it. */
  #settling: Promise<void> | null = null;

  constructor(at: Stations, options: RunOptions) {
    this.#at = at;
    this.#options = options;
    this.#asked = options.forced;
    this.#lanes = new Lanes(() => !options.now.aborted);
    this.#roll = new Roll(at.retrying?.agenda ?? null, options.forced);
    this.#dead = new DeadEnds(at);
  }

  /** There may be new mail: it does not wait for the end of what is under way. `urgent` when somebody asks in person. */
  again(urgent = false): void {
    this.#more = true;
    if (urgent) {
      this.#asked = true;
      this.#hurry();
    }
    this.#wake();
    this.#at.linger.wake();
  }

  /** "address:port"; "" when there is no connection. */
  get connectedTo(): string {
    return this.#transport?.session?.peer ?? "";
  }

  /** Once. */
  async all(): Promise<RunResult> {
    const { openRoutingFilter, retrying } = this.#at;
    if (this.#options.forced) retrying?.agenda.waive();
    const lingers = !this.#options.forced && this.#at.linger.began();
    const router = openRoutingFilter === null ? null : openRoutingFilter();
    try {
      while (this.#more && !this.#over) {
        await this.#passes(router);
        if (lingers) await this.#forMore();
      }
      await this.#lanes.settled();
      if (!this.#options.soon.aborted) await retrying?.planRest(this.#at, this.#ended);
    } catch (error) {
      retrying?.agenda.rest();
      throw error;
    } finally {
      await this.#lanes.close();
      await router?.[Symbol.asyncDispose]();
    }
    if (this.#tally.tried > 0) this.#at.linger.ended();
    return this.#tally.result;
  }

  async #forMore(): Promise<void> {
    if (this.#tally.tried === 0 || this.#over) return;
    await this.#at.linger.wait(() => this.#more, this.#options.soon);
  }

  get #over(): boolean {
    return this.#ended || this.#options.soon.aborted;
  }

  async #passes(router: Filter | null): Promise<void> {
    if (!this.#options.forced && !this.#at.survey.isDue) await this.#turn();
    this.#more = false;
    // Before the look into the queue.
    const held = this.#roll.held();
    const asked = this.#asked;
    this.#asked = false;
    const ready = await this.#at.store.ready(asked);
    const { survey, stragglers } = this.#at;
    let left = survey.look(ready.length, () => this.#roll.wanted(stragglers.last(ready), held));
    while (left.length > 0 && !this.#over) {
      left = await this.#pass(left, router);
      if (left.length === 0) break;
      await this.#settledOrAsked();
      if (this.#more) return;
    }
    await this.#settledOrAsked();
  }

  /** Resolves when it is time to look into the queue. */
  async #turn(): Promise<void> {
    const hurry = new AbortController();
    this.#hurry = () => hurry.abort();
    await this.#at.survey.turn(AbortSignal.any([this.#options.soon, hurry.signal]));
  }

  /** Resolves when nothing is under way any more, or there may be new mail. */
  async #settledOrAsked(): Promise<void> {
    if (this.#more) return;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#settling ??= this.#lanes.settled().then(() => {
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
    this.#at.store.announce(ids);
    for (const id of ids) {
      this.#backlog -= 1;
      if (this.#over) break;
      const { usual } = this.#lanes;
      const free = usual === null || (await usual.free(patience));
      if (this.#over) break;
      // From here on only what goes elsewhere is looked for.
      if (!free) patience = 0;
      if (!(await this.#takeOne(id, router, free))) left.push(id);
    }
    return left;
  }

  /** False when there was no room for the message, and it is still to be tried. */
  async #takeOne(id: MessageId, router: Filter | null, free: boolean): Promise<boolean> {
    if (!free && this.#roll.usual.has(id)) return false;
    const lease = await this.#lease(id);
    if (lease === "stuck") return true;
    if (lease === null) {
      this.#at.retrying?.agenda.absent(id);
      return true;
    }
    if (laneKey(lease) === USUAL && !free) {
      this.#roll.usual.add(id);
      await lease[Symbol.asyncDispose]();
      return false;
    }
    this.#roll.usual.delete(id);
    const hasWaited = this.#at.retrying?.agenda.forget(id) === true;
    const routed = await this.#route(lease, router, hasWaited);
    const lane = routed === null ? null : (this.#usualFor(lease) ?? (await this.#laneFor(lease)));
    if (routed !== null && lane !== null && !lane.full) {
      this.#roll.taken(id);
      lane.take(routed);
      return true;
    }
    await lease[Symbol.asyncDispose]();
    if (routed === null) this.#roll.done(id);
    else this.#at.journal.tell({ kind: "forward.skipped", id, why: "no connection is free" });
    return routed === null || this.#dead.has(headingOf(lease));
  }

  /** "stuck" when it cannot be locked: it stays where it is, and holds up no other. */
  async #lease(id: MessageId): Promise<Lease | "stuck" | null> {
    try {
      const lease = await this.#at.store.lease(id);
      this.#tally.leased();
      return lease;
    } catch (error) {
      if (!(error instanceof RelayError && this.#tally.stuck())) throw error;
      this.#roll.done(id);
      this.#fault(id, error, this.#tally.isOneOfMany);
      return "stuck";
    }
  }

  /** null when nothing is left to be done with the message in this run. */
  async #route(lease: Lease, router: Filter | null, hasWaited: boolean): Promise<Routed | null> {
    const { retrying } = this.#at;
    // The address of an earlier run says nothing about a message that is routed anew.
    const isRouted = router !== null && lease.envelope.forwardTo !== "";
    if (retrying === null && !isRouted && this.#dead.has(headingOf(lease))) return null;
    // Who has waited here does not care for what a clock says that may have been set.
    if (!this.#options.forced && !hasWaited && retrying?.isEarly(lease) === true) return null;
    try {
      if (isRouted && (await isPutOff(this.#at, lease, hasWaited))) return null;
      this.#tally.tried += 1;
      const routed = await route(this.#at, { lease, hasWaited }, router, this.#options.now);
      if (routed.kind === "over") {
        this.#judge(headingOf(lease), routed);
        return null;
      }
      const pause = this.#options.forced ? null : (retrying?.pauseOf(routed.smarthosts) ?? null);
      if (retrying !== null && pause !== null) {
        this.#tally.tried -= 1;
        await retrying.wait(this.#at, routed, pause);
        return null;
      }
      if (!this.#dead.has(headingOf(lease))) return routed;
      this.#dead.putOff(lease);
    } catch (error) {
      this.#fault(lease.id, error);
    }
    return null;
  }

  /** The lane of nearly all mail, if this message goes there and it is open. */
  #usualFor(lease: Lease): Lane | null {
    return laneKey(lease) === USUAL ? this.#lanes.usual : null;
  }

  /** null when there are too many, and all of them at work. */
  async #laneFor(lease: Lease): Promise<Lane | null> {
    const heading = headingOf(lease);
    return await this.#lanes.open(heading.lane, () => this.#laneTo(heading));
  }

  #laneTo(heading: Heading): Lane {
    const { clock, openClientFilter, pace, parallel } = this.#at;
    return new Lane({
      parallel,
      overlaps: openClientFilter === null && !pace.limited,
      openTransport: this.#options.openTransport,
      openClientFilter,
      closed: () => this.#over || this.#dead.has(heading),
      skipped: ({ lease }) => this.#dead.putOff(lease),
      released: ({ lease }) => this.#roll.released(lease.id),
      soon: this.#options.soon,
      send: (routed, open) => this.#send(heading, routed, open),
      backlog: () => (heading.lane === USUAL ? this.#backlog : 0),
      monotonic: () => clock.monotonic(),
      sleep: async (ms, signal) => await clock.sleep(ms, signal),
    });
  }

  async #send(
    heading: Heading,
    routed: Routed,
    open: () => Promise<Outbound>,
  ): Promise<"again" | "over"> {
    let outbound: Outbound | null = null;
    try {
      outbound = await open();
      this.#transport = outbound.transport;
      const sent = await forward(this.#at, routed, outbound, this.#options.now);
      if (sent.outcome.kind === "later") return "again";
      this.#judge(heading, sent, { routed, outbound });
    } catch (error) {
      this.#fault(routed.lease.id, error);
      // Our own secrets or keys cannot be used: no message will fare better.
      if (outbound === null) this.#ended = true;
    }
    return "over";
  }

  /** Storage trouble on one message, or a fault of ours: it stays queued, the others go on. */
  #fault(id: MessageId, error: unknown, detail = false): void {
    const { soon, now } = this.#options;
    const why = describeError(error);
    this.#at.journal.tell({ kind: "forward.skipped", id, why });
    if (now.aborted || (soon.aborted && isErrorOf(soon, error))) return;
    this.#tally.wrong(why, false);
    this.#at.retrying?.fault(id);
    const text = `cannot forward ${id}: ${why}`;
    this.#at.journal.tell({ kind: "note", level: "error", detail, text });
  }

  /** `sent`: absent for what was not to be sent at all. */
  #judge(
    heading: Heading,
    { outcome, next }: Forwarded,
    sent?: { readonly routed: Routed; readonly outbound: Outbound },
  ): void {
    if (next === "stop") this.#ended = true;
    if (sent !== undefined && outcome.kind === "delivered") this.#roll.gone(sent.routed.lease.id);
    if (outcome.kind === "deferred") this.#tally.waiting += 1;
    const trouble = "trouble" in outcome ? outcome.trouble : null;
    if (trouble === null) {
      this.#dead.isAlive(heading);
      return;
    }
    this.#tally.wrong(trouble.why, this.#at.retrying !== null);
    // A paused smarthost has been told of already.
    if (this.#at.retrying === null || outcome.kind !== "queued") {
      const { address } = heading;
      this.#at.journal.tell({ kind: "smarthost.failed", address, why: trouble.why });
    }
    const others = [...(sent?.outbound.unusable.values() ?? [])];
    this.#dead.fails(heading, { trouble, routed: sent?.routed ?? null, others });
    // Without the usual smarthost there is not much to do for a run.
    if (this.#at.retrying === null && this.#dead.has(USUALLY)) this.#ended = true;
  }
}
