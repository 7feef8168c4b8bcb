/**
 * When what is to be tried again: messages that wait for their own next attempt, and smarthosts that
 * are left in peace for a while. In memory; messages carry their part of it in their envelopes.
 */
import type { RetryConfig } from "../core/config.ts";
import type { MessageId } from "../core/message-id.ts";

export interface AgendaOptions {
  readonly retry: RetryConfig;
  /** Milliseconds by a clock that never goes back. */
  readonly monotonic: () => number;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Called when something is to be looked at in so many milliseconds. */
  readonly onPlanned?: (ms: number) => void;
}

/** Nobody knows whether the message was taken: trying it soon would deliver it twice, most likely. */
const AFTER_UNKNOWN_MS = 3_600_000;
/** However often a smarthost has failed, it is looked after again within this time. */
const LONGEST_PAUSE_MS = 900_000;
const JITTER = 0.1;
/** After a run that a fault, or a filter, has ended. */
const REST_MS = 60_000;
/** What stays in the queue, and nobody has planned for. */
const LOOK_MS = 300_000;
/** When so many messages were lost in a row it is the smarthost's trouble: one that kills its sessions holds up no others. */
const MAX_LOST = 3;
/** Of so many the names are kept, for so many smarthosts. */
const MOST_LOST = 100;
/** What a smarthost's trouble was is forgotten when nothing was sent there for so long after it. */
const FORGOTTEN_MS = 86_400_000;

interface Pause {
  readonly until: number;
  readonly count: number;
  readonly why: string;
  /** What the operator was told of. */
  readonly topic: string;
}

export class Agenda {
  readonly #options: AgendaOptions;
  readonly #due = new Map<MessageId, number>();
  /** None of them is due before then. */
  #first = Number.POSITIVE_INFINITY;
  /** By smarthost, or by account there. */
  readonly #pauses = new Map<string, Pause>();
  /** By smarthost: messages that were lost on the way there since it last answered for one. */
  readonly #lost = new Map<string, Set<MessageId>>();
  /** Nothing before then. */
  #rest = 0;
  /** Something then, in any case. */
  #look = 0;

  constructor(options: AgendaOptions) {
    this.#options = options;
  }

  /** Milliseconds until the next attempt after so many. */
  delayAfter(tries: number, unknown: boolean): number {
    const { retry, random } = this.#options;
    const { delaysMs } = retry;
    const gap = delaysMs[Math.min(tries, delaysMs.length) - 1] ?? 60_000;
    const least = unknown ? Math.max(gap, AFTER_UNKNOWN_MS) : gap;
    return Math.round(least * (1 - JITTER + 2 * JITTER * random()));
  }

  /** A message is not to be tried for so long. Longer than any gap can be only after a clock was set: then it is cut. */
  defer(id: MessageId, ms: number): void {
    const { delaysMs } = this.#options.retry;
    const longest = Math.max(...delaysMs, AFTER_UNKNOWN_MS) * (1 + JITTER);
    const cut = Math.min(Math.max(ms, 0), longest);
    const at = this.now() + cut;
    this.#due.set(id, at);
    this.#first = Math.min(this.#first, at);
    this.#planned(cut);
  }

  /** True if the message had been put off. */
  forget(id: MessageId): boolean {
    return this.#due.delete(id);
  }

  /** In other hands, or of no use: it is not looked at again and again because its time has come. */
  absent(id: MessageId): void {
    if (this.isDue(id)) this.#due.delete(id);
  }

  /** By the clock that it counts with. */
  now(): number {
    return this.#options.monotonic();
  }

  /** True if the message may be tried. */
  isDue(id: MessageId, now = this.now()): boolean {
    const at = this.#due.get(id);
    return at === undefined || at <= now;
  }

  /** True if the message was put off, and has waited for as long. */
  hasWaited(id: MessageId, now = this.now()): boolean {
    const at = this.#due.get(id);
    return at !== undefined && at <= now;
  }

  /** Leaves a smarthost, or an account there, alone for a while, longer each time. `news` is true when it is not the `topic` that the operator knows of. */
  pause(whom: string, why: string, topic = why): { readonly ms: number; readonly news: boolean } {
    const before = this.#pauses.get(whom);
    // Connections that fail together are one failure.
    const left = this.pausedFor(whom);
    if (before !== undefined && left !== null) return { ms: left.ms, news: false };
    const count = (before?.count ?? 0) + 1;
    const ms = Math.min(this.delayAfter(count, false), LONGEST_PAUSE_MS);
    this.#forgetOld();
    this.#pauses.set(whom, { until: this.#options.monotonic() + ms, count, why, topic });
    this.#planned(ms);
    return { ms, news: before?.topic !== topic };
  }

  /** A message was lost on the way: true when that is another sign of trouble that is not the message's own. */
  lost(address: string, id: MessageId): boolean {
    const ids = this.#lost.get(address) ?? new Set();
    if (ids.has(id)) return false;
    ids.add(id);
    this.#lost.set(address, ids);
    keepNewest(ids);
    keepNewest(this.#lost);
    return ids.size >= MAX_LOST;
  }

  /** It works: true if it had been paused. */
  resume(whom: string): boolean {
    this.#lost.delete(whom);
    return this.#pauses.delete(whom);
  }

  /** Somebody asks for everything to be tried: all pauses end; who fails again is left alone for longer. */
  waive(): void {
    const now = this.#options.monotonic();
    for (const [whom, pause] of this.#pauses) {
      if (pause.until > now) this.#pauses.set(whom, { ...pause, until: now });
    }
  }

  /** Why it is left alone at the moment, and for how many more milliseconds; null when it is not. */
  pausedFor(whom: string): { readonly why: string; readonly ms: number } | null {
    const pause = this.#pauses.get(whom);
    const ms = (pause?.until ?? 0) - this.#options.monotonic();
    return pause !== undefined && ms > 0 ? { why: pause.why, ms } : null;
  }

  /**
   * Forgets what is not in the queue when its time has come: `ready` are those that may be leased, `held`
   * those that a run has in hand. Until then it may be in other hands, and come back.
   */
  keep(ready: readonly MessageId[], held: ReadonlySet<MessageId>): void {
    const now = this.now();
    if (this.#first > now) return;
    const there = new Set(ready);
    this.#first = Number.POSITIVE_INFINITY;
    for (const [id, at] of this.#due) {
      if (at <= now && !there.has(id) && !held.has(id)) this.#due.delete(id);
      else this.#first = Math.min(this.#first, at);
    }
  }

  /** A run was ended: nothing is tried for a while, and then everything that may be. */
  rest(): void {
    this.#rest = this.#options.monotonic() + REST_MS;
    this.#planned(REST_MS);
  }

  /** What a run has left in the queue: whatever is planned for none of it is looked at again some time. */
  left(ready: readonly MessageId[]): void {
    if (ready.every((id) => this.#due.has(id))) return;
    this.#look = this.#options.monotonic() + LOOK_MS;
    this.#planned(LOOK_MS);
  }

  /** Milliseconds until something is due, or null. */
  next(): number | null {
    const now = this.#options.monotonic();
    if (this.#rest > now) return this.#rest - now;
    let earliest = Number.POSITIVE_INFINITY;
    for (const at of this.#due.values()) earliest = Math.min(earliest, at);
    for (const { until } of this.#pauses.values()) {
      if (until > now) earliest = Math.min(earliest, until);
    }
    if (this.#look > now) earliest = Math.min(earliest, this.#look);
    return earliest === Number.POSITIVE_INFINITY ? null : Math.max(earliest - now, 0);
  }

  #forgetOld(): void {
    const long = this.#options.monotonic() - FORGOTTEN_MS;
    for (const [whom, { until }] of this.#pauses) if (until < long) this.resume(whom);
  }

  #planned(ms: number): void {
    this.#options.onPlanned?.(ms);
  }
}

function keepNewest<K>(all: {
  readonly size: number;
  keys(): Iterable<K>;
  delete(key: K): boolean;
}): void {
  if (all.size <= MOST_LOST) return;
  const [first] = all.keys();
  if (first !== undefined) all.delete(first);
}
