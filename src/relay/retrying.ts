/** Mail that is tried again, each message in its own time; smarthosts in trouble are left alone for a while. */
import type { RetryConfig } from "../core/config.ts";
import type { Journal } from "../core/events.ts";
import type { MessageId } from "../core/message-id.ts";
import { refusalIn } from "../core/outcome.ts";
import { type RetryState, retryStateOf, wasSetAside, withRetryState } from "../core/retry-state.ts";
import type { Lease } from "../core/store.ts";
import type { Smarthost, Trouble } from "../core/transport.ts";
import type { Agenda } from "./agenda.ts";
import { agedFrom, ageToNote } from "./arrival.ts";
import { AttemptNotes } from "./attempt-notes.ts";
import { conclude } from "./conclude.ts";
import { expire } from "./conclude-each.ts";
import type { Attempt } from "./delivery.ts";
import type { Forwarded, Routed, Stations } from "./journey.ts";
import { Lookups } from "./lookups.ts";
import { type Ended, warnSender } from "./reporting.ts";

/** Names tell the time in seconds: when so much more has passed a message is as old as it should be. */
const A_LITTLE_MS = 1000;
const AFTER_FAULT_MS = 60_000;

export interface RetryingOptions {
  readonly retry: RetryConfig;
  readonly agenda: Agenda;
  readonly journal: Journal;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Why a message's smarthosts are left alone, and for how many more milliseconds. */
export interface Pause {
  readonly why: string;
  readonly ms: number;
  /** True if that is so for the message's account: others may use one of them. */
  readonly ofAccount: boolean;
}

/** What an instance knows about later attempts; it outlives the runs. */
export class Retrying {
  readonly agenda: Agenda;
  readonly notes: AttemptNotes;
  readonly lookups: Lookups;
  readonly #options: RetryingOptions;

  constructor(options: RetryingOptions) {
    this.agenda = options.agenda;
    this.notes = new AttemptNotes(options.journal);
    this.lookups = new Lookups(options.agenda);
    this.#options = options;
  }

  /** It has answered for a message. */
  works({ address, account }: Smarthost): void {
    const kind = "smarthost.resumed";
    const { agenda } = this;
    if (agenda.resume(address)) this.#options.journal.tell({ kind, address, account: "" });
    const isWelcome = agenda.resume(accountAt(address, account));
    if (isWelcome) this.#options.journal.tell({ kind, address, account });
  }

  /** No session can be had: the trouble is the site's own, and told once. A refused login is no other account's trouble. */
  fails({ address, account }: Smarthost, { kind, why, reply }: Trouble): void {
    const ofAccount = kind === "authentication";
    // Hosts like to put times and numbers into their words.
    const topic = reply === null ? why : `${kind} ${reply.code}`;
    const { ms, news } = this.agenda.pause(
      ofAccount ? accountAt(address, account) : address,
      why,
      topic,
    );
    if (!news) return;
    this.#options.journal.tell({
      kind: "smarthost.paused",
      address,
      account: ofAccount ? account : "",
      why,
      seconds: Math.round(ms / 1000),
    });
  }

  /** It has ended the session instead of an answer for this message: one of a few such is the message's own trouble. */
  loses(smarthost: Smarthost, id: MessageId, trouble: Trouble): void {
    if (this.agenda.lost(smarthost.address, id)) this.fails(smarthost, trouble);
  }

  /** Those that are not left alone at the moment; all when that is none. */
  usable(smarthosts: Routed["smarthosts"]): readonly Smarthost[] {
    const usable = smarthosts.filter((one) => this.#pausedFor(one) === null);
    return usable.length > 0 ? usable : smarthosts;
  }

  /** Why all of them are left alone, and for how long; null when one is not. */
  pauseOf(smarthosts: Routed["smarthosts"]): Pause | null {
    const pauses = smarthosts.map((one) => this.#pausedFor(one));
    const ms = Math.min(...pauses.map((pause) => pause?.ms ?? 0));
    if (ms === 0) return null;
    const ofAccount = pauses.some((pause) => pause?.ofAccount === true);
    return { why: pauses[0]?.why ?? "", ms, ofAccount };
  }

  /** The longer one, where both it and our account there are left alone. */
  #pausedFor({ address, account }: Smarthost): Pause | null {
    const all = this.agenda.pausedFor(address);
    const own = this.agenda.pausedFor(accountAt(address, account));
    if (own !== null && own.ms > (all?.ms ?? 0)) return { ...own, ofAccount: true };
    return all === null ? null : { ...all, ofAccount: false };
  }

  /** True if the message has waited as long as it may. */
  async isExpired(lease: Lease): Promise<boolean> {
    const from = await agedFrom(lease, this.#options.now());
    return from !== null && this.#options.now() - from * 1000 > this.#options.retry.expireMs;
  }

  /** Seconds since 1970; null when nobody knows when the message came. */
  async triedUntil(lease: Lease): Promise<number | null> {
    const from = await agedFrom(lease, this.#options.now());
    return from === null ? null : from + Math.round(this.#options.retry.expireMs / 1000);
  }

  /** After a start: true if the envelope says that it is too early, which the agenda then knows. */
  isEarly(lease: Lease): boolean {
    const { next, tries, unknown } = retryStateOf(this.notes.envelopeOf(lease));
    const ms = next * 1000 - this.#options.now();
    if (ms <= 0) return false;
    // Longer than its gap only after a clock was set.
    this.agenda.defer(lease.id, Math.min(ms, this.agenda.delayAfter(tries, unknown > 0)));
    return true;
  }

  /** A message whose smarthosts are all left alone waits as long as they do. One that `hasWaited` before may have waited long enough. */
  async wait(
    at: Stations,
    { lease, smarthosts, started, hasWaited }: Routed,
    pause: Pause,
  ): Promise<void> {
    const { why } = pause;
    const attempt: Attempt = { smarthost: smarthosts[0], session: null, bytes: 0, started };
    const ended: Ended = { next: "continue", attempt };
    // What comes from an operator is older than any mail may be, and yet has been tried nowhere.
    if (hasWaited && (await this.isExpired(lease))) {
      await expire(at, this, { lease, ended }, { said: { code: 0, text: why }, trouble: null });
      return;
    }
    await this.#waitFor(at, lease, pause, ended);
    at.journal.tell({ kind: "forward.skipped", id: lease.id, why });
  }

  /** A message whose smarthosts have all been asked, and none could be used. */
  async unreached(
    at: Stations,
    { lease, smarthosts, hasWaited }: Routed,
    trouble: Trouble,
    attempt: Attempt,
  ): Promise<Forwarded> {
    const { why } = trouble;
    const ended: Ended = { next: "continue", attempt };
    if (hasWaited && (await this.isExpired(lease))) {
      const said = refusalIn(trouble) ?? { code: 0, text: why };
      return await expire(at, this, { lease, ended }, { said, trouble });
    }
    const ms = this.pauseOf(smarthosts)?.ms ?? 0;
    const outcome = { kind: "queued", why, trouble } as const;
    const queued = await conclude(at, lease, { ...ended, outcome });
    await this.#waitFor(at, lease, { why, ms }, ended);
    return queued;
  }

  async #waitFor(
    at: Stations,
    lease: Lease,
    { why, ms }: { readonly why: string; readonly ms: number },
    ended: Ended,
  ): Promise<void> {
    this.agenda.defer(lease.id, ms);
    await this.#noteNewAge(lease);
    const reply = { code: 0, text: why };
    const waiting = lease.envelope.toRemote.map((recipient) => ({ recipient, reply, step: null }));
    await warnSender(at, this, { lease, ended }, waiting);
  }

  /** What was put back in the queue is new from now on, though its smarthost is away. */
  async #noteNewAge(lease: Lease): Promise<void> {
    const envelope = this.notes.envelopeOf(lease);
    const state = retryStateOf(envelope);
    if (state.arrived > 0 || !wasSetAside(envelope)) return;
    const arrived = await ageToNote(lease, this.#options.now());
    const noted = withRetryState(envelope, envelope.toRemote, { ...state, arrived });
    await this.notes.write(lease, noted);
  }

  /** After a run: nothing is left in the queue for nobody to look at. One that was `ended` is not to begin anew at once. */
  async planRest({ store, survey }: Stations, ended: boolean): Promise<void> {
    if (ended) {
      this.agenda.rest();
      return;
    }
    const ready = await store.ready();
    survey.look(ready.length, () => this.agenda.left(ready));
  }

  /** After a fault of our own. */
  fault(id: MessageId): void {
    this.agenda.defer(id, AFTER_FAULT_MS);
  }

  /** What to remember of one more attempt; `warnAfter`: its sender is told when it is so many seconds old, null for never. */
  async after(
    lease: Lease,
    state: RetryState,
    { unknown, warnAfter }: { readonly unknown: boolean; readonly warnAfter: number | null },
  ): Promise<{ next: RetryState; ms: number }> {
    const tries = state.tries + 1;
    const gap = this.agenda.delayAfter(tries, unknown);
    const marks = [this.#options.retry.expireMs];
    if (warnAfter !== null && state.warned === 0) marks.push(warnAfter * 1000);
    // There is one more attempt when its sender is to be told, so that this does not wait for hours.
    const ms = unknown ? gap : Math.min(gap, await this.#untilAge(lease, marks));
    this.agenda.defer(lease.id, ms);
    const next = Math.ceil((this.#options.now() + ms) / 1000);
    return { next: { ...state, tries, next, unknown: state.unknown + (unknown ? 1 : 0) }, ms };
  }

  /** Milliseconds until it is as old as the next of these ages. */
  async #untilAge(lease: Lease, ages: readonly number[]): Promise<number> {
    const from = await agedFrom(lease, this.#options.now());
    if (from === null) return Number.POSITIVE_INFINITY;
    const age = this.#options.now() - from * 1000;
    return Math.min(...ages.filter((one) => one > age).map((one) => one - age + A_LITTLE_MS));
  }
}

/** No address has that character. */
function accountAt(address: string, account: string): string {
  return `${address}\0${account}`;
}
