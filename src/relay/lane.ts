/**
 * The way to one smarthost: leased messages, sent over connections that are kept. There is one
 * connection, and more when messages have to wait for it.
 */
import type { Filter } from "../core/filter.ts";
import type { Transport } from "../core/transport.ts";
import type { Outbound, Routed } from "./journey.ts";

/** Leased messages that wait in one lane at most: the rest is left in the queue for the other forwarders. */
const MAX_WAITING = 100;
/**
 * Messages in hand of one connection at a time: one whose content is to be answered, one whose commands are,
 * and one whose commands are to be said together with the content of that one.
 */
const AHEAD = 3;
/** With so many messages to come for each connection, another one is worth its while ... */
const MANY = 50;
/** ... or with so few, where each takes so long: large ones, or a host that is slow or far away. */
const FEW = 4;
const LONG_MS = 4;
/** And so it is when all have been busy with their messages for so long. */
const SLOW_MS = 250;
/** The mean of what messages took goes so much of the way to the last one, which counts for no more than this. */
const LAST_SHARE = 1 / 4;
const MOST_MS = 2 * LONG_MS;
/** Whoever takes so many times as long as others have lately is not waited for by those behind it. */
const STUCK_TIMES = 4;

export interface LaneOptions {
  /** Connections at a time. */
  readonly parallel: number;
  readonly openTransport: () => Promise<Transport>;
  readonly openClientFilter: (() => Filter & AsyncDisposable) | null;
  /**
   * Sends one message over what is kept for this way, which is opened when it is first asked for.
   * "again" when it had to wait too long for the one before it. Does not throw.
   */
  readonly send: (routed: Routed, open: () => Promise<Outbound>) => Promise<"again" | "over">;
  /** True if a message may be on its way before it is known what became of the one before it. */
  readonly overlaps: boolean;
  /** Called with what is not sent, because nothing more is to be sent this way. */
  readonly skipped: (routed: Routed) => void;
  /** Called with everything that was taken, when its lease has ended. */
  readonly released: (routed: Routed) => void;
  /** True when nothing more is to be sent this way. */
  readonly closed: () => boolean;
  /** Messages to come, roughly, besides those that wait here. */
  readonly backlog: () => number;
  readonly monotonic: () => number;
  /** Aborted when nothing more is to begin. */
  readonly soon: AbortSignal;
  /** Resolves after so many milliseconds; rejects when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export class Lane {
  readonly #options: LaneOptions;
  readonly #waiting: Routed[] = [];
  readonly #workers: Worker[] = [];
  readonly #closing = new AbortController();
  /** There is another smarthost to turn to: then a connection may be given up between two messages. */
  #hasAlternatives = false;
  #ticking = false;
  /** Milliseconds that a message has taken lately. */
  #tookMs = 0;
  /** The same, for hosts that look at content: one that took too long counts for no more than that. */
  #usualMs = 0;
  /** Called when a worker has finished a message. */
  #listeners: (() => void)[] = [];

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  get full(): boolean {
    return this.#waiting.length >= MAX_WAITING;
  }

  get idle(): boolean {
    return this.#waiting.length === 0 && this.#workers.every((worker) => worker.inHand === 0);
  }

  /** Takes a message over, its lease included. */
  take(routed: Routed): void {
    this.#hasAlternatives = routed.smarthosts.length > 1;
    this.#waiting.push(routed);
    this.#dispatch();
  }

  /** Resolves to true when a message would be sent at once, to false when that takes longer than `patienceMs`. */
  async free(patienceMs: number): Promise<boolean> {
    const until = this.#options.monotonic() + patienceMs;
    while (!this.#canSend()) {
      const left = until - this.#options.monotonic();
      if (left <= 0) return false;
      await this.#something("or a while");
      // A message that waits for a slow one is sent beside it.
      this.#dispatch();
    }
    return true;
  }

  /** Resolves when nothing waits, and nothing is under way, any more. */
  async settled(): Promise<void> {
    while (!this.idle) {
      await this.#something(this.#waiting.length > 0 ? "or a while" : null);
      this.#dispatch();
    }
  }

  /** Says QUIT if `politely`, and closes. Only when settled. */
  async close(politely: boolean): Promise<void> {
    this.#closing.abort();
    const kept = this.#workers.splice(0).flatMap(({ kept: one }) => (one === null ? [] : [one]));
    await Promise.all(
      kept.map(async ({ transport, clientFilter }) => {
        if (politely) await transport.quit();
        await transport[Symbol.asyncDispose]();
        await clientFilter?.[Symbol.asyncDispose]();
      }),
    );
  }

  #canSend(): boolean {
    if (this.#options.closed()) return true;
    return this.#waiting.length === 0 && (this.#freeWorker() !== null || this.#mayGrow());
  }

  #freeWorker(): Worker | null {
    const idle = this.#workers.find(({ inHand }) => inHand === 0) ?? null;
    if (idle !== null || this.#mayGrow()) return idle;
    return this.#workers.find((worker) => this.#mayOverlap(worker)) ?? null;
  }

  #mayOverlap(worker: Worker): boolean {
    const { inHand } = worker;
    if (!this.#options.overlaps || this.#hasAlternatives || inHand < 1 || inHand >= AHEAD) {
      return false;
    }
    return worker.kept?.transport.overlaps === true && !this.#isSlow(worker);
  }

  #isSlow({ inHand, since }: Worker): boolean {
    return inHand > 0 && this.#options.monotonic() - since >= SLOW_MS;
  }

  /** What those behind a message wait for it, where the host is not as slow with each. */
  get #patienceMs(): number {
    return Math.max(SLOW_MS, STUCK_TIMES * this.#usualMs);
  }

  #mayGrow(): boolean {
    const count = this.#workers.length;
    if (count === 0) return true;
    if (count >= this.#options.parallel) return false;
    const enough = this.#tookMs < LONG_MS ? MANY : FEW;
    if (this.#waiting.length + this.#options.backlog() >= enough * count) return true;
    return this.#workers.every((worker) => this.#isSlow(worker));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const worker = this.#freeWorker() ?? (this.#mayGrow() ? this.#hire() : null);
      if (worker === null) return;
      worker.inHand += 1;
      if (worker.inHand > 1) this.#tick();
      void this.#work(worker); // Does not throw.
    }
  }

  #hire(): Worker {
    const worker: Worker = { inHand: 0, since: 0, kept: null };
    this.#workers.push(worker);
    return worker;
  }

  async #work(worker: Worker): Promise<void> {
    do {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      if (worker.inHand === 1) worker.since = this.#options.monotonic();
      if ((await this.#send(worker, next)) === "again") {
        this.#waiting.unshift(next);
        break;
      }
      await next.lease[Symbol.asyncDispose]();
      this.#options.released(next);
      const now = this.#options.monotonic();
      const took = now - worker.since;
      // One that was slow, or had to wait for its connection, says nothing about the next.
      this.#tookMs += (Math.min(took, MOST_MS) - this.#tookMs) * LAST_SHARE;
      this.#usualMs += (Math.min(took, this.#patienceMs) - this.#usualMs) * LAST_SHARE;
      // The one behind it is the first now.
      if (worker.inHand > 1) worker.since = now;
      this.#happened();
    } while (worker.inHand === 1 || worker.kept?.transport.overlaps === true);
    worker.inHand -= 1;
    this.#dispatch();
    this.#happened();
  }

  async #send(worker: Worker, next: Routed): Promise<"again" | "over"> {
    if (this.#options.closed()) {
      this.#options.skipped(next);
      return "over";
    }
    return await this.#options.send(next, async () => {
      worker.kept ??= await this.#open();
      return worker.kept;
    });
  }

  async #open(): Promise<Kept> {
    const { openTransport, openClientFilter } = this.#options;
    const transport = await openTransport();
    return {
      transport,
      clientFilter: openClientFilter === null ? null : openClientFilter(),
      unusable: new Map(),
      soon: this.#options.soon,
    };
  }

  /**
   * Messages that wait behind one that is stuck go another way, where there can be one. That costs its connection: what
   * the next one has said already cannot be taken back.
   */
  #hurry(): void {
    if (this.#options.parallel === 1) return;
    const ahead = this.#workers.filter(({ inHand }) => inHand > 1);
    const since = this.#options.monotonic() - this.#patienceMs;
    for (const worker of ahead) if (worker.since <= since) worker.kept?.transport.withdraw();
    if (ahead.length > 0 && !this.#closing.signal.aborted) this.#tick();
  }

  #happened(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listen of listeners) listen();
  }

  /** Resolves when a message has been dealt with, or else, if asked to, within SLOW_MS. */
  async #something(or: "or a while" | null): Promise<void> {
    const happened = new Promise<void>((resolve) => this.#listeners.push(resolve));
    if (or !== null) this.#tick();
    await happened;
  }

  /** Whoever waits looks again now and then. One timer for all, not one for each message. */
  #tick(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    const ring = () => {
      this.#ticking = false;
      this.#hurry();
      this.#happened();
    };
    this.#options.sleep(SLOW_MS, this.#closing.signal).then(ring, ring);
  }
}

interface Worker {
  /** Messages: more than one, when the next is on its way before the first has been answered. */
  inHand: number;
  /** Monotonic milliseconds: when it began with the first of them. */
  since: number;
  kept: Kept | null;
}

interface Kept extends Outbound {
  readonly clientFilter: (Filter & AsyncDisposable) | null;
}
