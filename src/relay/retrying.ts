/** Mail that is tried again: each recipient has a fate of its own, and smarthosts in trouble are left alone for a while. */
import type { RetryConfig } from "../core/config.ts";
import type { Journal } from "../core/events.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Reply } from "../core/reply.ts";
import {
  arrivalOf,
  type FailedRecipient,
  hasRetryState,
  type RetryState,
  retryStateOf,
  UNTRIED,
  withRetryState,
} from "../core/retry-state.ts";
import { type RecipientOutcome, settleEach } from "../core/settle-each.ts";
import type { FailureReason, Lease } from "../core/store.ts";
import type { Receipt, Smarthost, Trouble } from "../core/transport.ts";
import type { Agenda } from "./agenda.ts";
import { AttemptNotes } from "./attempt-notes.ts";
import { conclude } from "./conclude.ts";
import { type Attempt, deliveryTo } from "./delivery.ts";
import type { Forwarded, Routed, Stations } from "./journey.ts";
import { type Ended, tellRelayed, tellSender, warnSender } from "./reporting.ts";

const AFTER_FAULT_MS = 60_000;

export interface RetryingOptions {
  readonly retry: RetryConfig;
  readonly agenda: Agenda;
  readonly journal: Journal;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** What an instance knows about later attempts; it outlives the runs. */
export class Retrying {
  readonly agenda: Agenda;
  readonly notes: AttemptNotes;
  readonly #options: RetryingOptions;

  constructor(options: RetryingOptions) {
    this.agenda = options.agenda;
    this.notes = new AttemptNotes(options.journal);
    this.#options = options;
  }

  /** A session with the smarthost is ready. */
  works(address: string): void {
    if (this.agenda.resume(address)) {
      this.#options.journal.tell({ kind: "smarthost.resumed", address });
    }
  }

  /** No session can be had: the trouble is the site's own, and told once. */
  fails(address: string, { why }: Trouble): void {
    const { ms, news } = this.agenda.pause(address, why);
    if (!news) return;
    this.#options.journal.tell({
      kind: "smarthost.paused",
      address,
      why,
      seconds: Math.round(ms / 1000),
    });
  }

  /** Those that are not left alone at the moment; all when that is none. */
  usable(smarthosts: Routed["smarthosts"]): readonly Smarthost[] {
    const usable = smarthosts.filter(({ address }) => this.agenda.pausedFor(address) === null);
    return usable.length > 0 ? usable : smarthosts;
  }

  /** Why all of them are left alone, and for how long; null when one is not. */
  pauseOf(smarthosts: Routed["smarthosts"]): { readonly why: string; readonly ms: number } | null {
    const pauses = smarthosts.map(({ address }) => this.agenda.pausedFor(address));
    const ms = Math.min(...pauses.map((pause) => pause?.ms ?? 0));
    return ms === 0 ? null : { why: pauses[0]?.why ?? "", ms };
  }

  /** True if the message has waited as long as it may. */
  isExpired(id: MessageId): boolean {
    const arrived = arrivalOf(id);
    return arrived !== null && this.#options.now() - arrived * 1000 > this.#options.retry.expireMs;
  }

  /** Seconds since 1970; null when nobody knows when the message came. */
  triedUntil(id: MessageId): number | null {
    const arrived = arrivalOf(id);
    return arrived === null ? null : arrived + Math.round(this.#options.retry.expireMs / 1000);
  }

  /** After a start: true if the envelope says that it is too early, which the agenda then knows. */
  isEarly(lease: Lease): boolean {
    const ms = retryStateOf(this.notes.envelopeOf(lease)).next * 1000 - this.#options.now();
    if (ms <= 0) return false;
    this.agenda.defer(lease.id, ms);
    return true;
  }

  /** A message whose smarthosts are all left alone waits as long as they do. One that `hasWaited` before may have waited long enough. */
  async wait(
    at: Stations,
    { lease, smarthosts, started, hasWaited = false }: Routed,
    pause: { readonly why: string; readonly ms: number },
  ): Promise<void> {
    const { why } = pause;
    const attempt: Attempt = { smarthost: smarthosts[0], session: null, bytes: 0, started };
    const ended: Ended = { next: "continue", attempt };
    // What comes from an operator is older than any mail may be, and yet has been tried nowhere.
    if (hasWaited && this.isExpired(lease.id)) {
      await expire(at, this, { lease, ended }, { said: { code: 0, text: why }, trouble: null });
      return;
    }
    await this.#waitFor(at, lease, pause, ended);
  }

  /** A message whose smarthosts have all been asked, and none could be used. */
  async unreached(
    at: Stations,
    { lease, smarthosts, hasWaited = false }: Routed,
    trouble: Trouble,
    attempt: Attempt,
  ): Promise<Forwarded> {
    const { why } = trouble;
    const ended: Ended = { next: "continue", attempt };
    if (hasWaited && this.isExpired(lease.id)) {
      const said = trouble.reply ?? { code: 0, text: why };
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
    const reply = { code: 0, text: why };
    const waiting = lease.envelope.toRemote.map((recipient) => ({ recipient, reply, step: null }));
    await warnSender(at, { lease, ended }, waiting, this.triedUntil(lease.id));
  }

  /** After a fault of our own. */
  fault(id: MessageId): void {
    this.agenda.defer(id, AFTER_FAULT_MS);
  }

  /** What to remember of one more attempt. */
  after(id: MessageId, state: RetryState, unknown: boolean): { next: RetryState; ms: number } {
    const tries = state.tries + 1;
    const ms = this.agenda.delayAfter(tries, unknown);
    this.agenda.defer(id, ms);
    const next = Math.ceil((this.#options.now() + ms) / 1000);
    return { next: { ...state, tries, next, unknown: state.unknown + (unknown ? 1 : 0) }, ms };
  }
}

/** Carries out what a smarthost said about each recipient: who has it is never sent it again. */
export async function concludeEach(
  at: Stations,
  retrying: Retrying,
  lease: Lease,
  receipt: Receipt,
  ended: Ended,
): Promise<Forwarded> {
  const expired = retrying.isExpired(lease.id);
  const state = retryStateOf(lease.envelope);
  const fates = settleEach(receipt, lease.envelope.toRemote).map((one) =>
    one.kind === "deferred" && expired ? timedOut(one) : one,
  );
  const of = (kind: RecipientOutcome["kind"]) => fates.filter((one) => one.kind === kind);
  const [delivered, deferred, failed] = [of("delivered"), of("deferred"), of("failed")];
  const report = { lease, ended };
  if (failed.length > 0) await tellSender(at, report, failed);
  await tellRelayed(at, report, delivered);
  const all = [...state.failed, ...failed];
  if (deferred.length > 0) {
    const unknown = receipt.kind === "lost" && receipt.unknown;
    const { next, ms } = retrying.after(lease.id, { ...state, failed: all }, unknown);
    const names = deferred.map(({ recipient }) => recipient);
    await retrying.notes.write(lease, withRetryState(lease.envelope, names, next));
    tell(at, report, "message.deferred", deferred, {
      retrySeconds: Math.round(ms / 1000),
      unknown,
    });
    await warnSender(at, report, deferred, retrying.triedUntil(lease.id));
  } else {
    await finish(retrying, lease, all);
  }
  if (delivered.length > 0) tell(at, report, "message.delivered", delivered);
  if (failed.length > 0) tell(at, report, "message.failed", failed);
  const trouble = troubleOf(receipt);
  const [worst] = [...failed, ...deferred, ...delivered];
  const reply = worst?.reply ?? { code: 250, text: "" };
  const outcome: Forwarded["outcome"] =
    failed.length > 0 && deferred.length === 0
      ? { kind: "failed", reason: reasonOf(all), trouble, reply }
      : deferred.length > 0
        ? { kind: "deferred", trouble, reply }
        : { kind: "delivered", reply };
  return { kind: "over", outcome, next: ended.next };
}

/** A message that nobody can be asked about any more: its smarthost has been in trouble for all its time. */
async function expire(
  at: Stations,
  retrying: Retrying,
  { lease, ended }: { readonly lease: Lease; readonly ended: Ended },
  { said, trouble }: { readonly said: Reply; readonly trouble: Trouble | null },
): Promise<Forwarded> {
  const failed = lease.envelope.toRemote.map((recipient) =>
    timedOut({ recipient, kind: "deferred", reply: said, step: null }),
  );
  const report = { lease, ended };
  await tellSender(at, report, failed);
  const all = [...retryStateOf(lease.envelope).failed, ...failed];
  await finish(retrying, lease, all);
  tell(at, report, "message.failed", failed);
  const outcome = { kind: "failed", reason: reasonOf(all), trouble, reply: said } as const;
  return { kind: "over", outcome, next: "continue" };
}

/** Nobody waits any more: the message is removed, or set aside for those who never got it. */
async function finish(
  retrying: Retrying,
  lease: Lease,
  failed: readonly FailedRecipient[],
): Promise<void> {
  if (failed.length === 0) await lease.complete();
  else await setAside(retrying, lease, reasonOf(failed));
  retrying.agenda.forget(lease.id);
  retrying.notes.forget(lease.id);
}

/** If it cannot be set aside it stays in the queue, but no more for those who have got it. */
async function setAside(retrying: Retrying, lease: Lease, reason: FailureReason): Promise<void> {
  const { envelope } = lease;
  const { recipients } = reason;
  if (hasRetryState(envelope) || envelope.toRemote.some((one) => !recipients.includes(one))) {
    await retrying.notes.write(lease, withRetryState(envelope, recipients, UNTRIED));
  }
  await lease.fail(reason);
}

function timedOut({ recipient, reply, step }: RecipientOutcome): RecipientOutcome {
  const text = `delivery time expired: ${reply.text}`;
  return { recipient, kind: "failed", reply: { code: reply.code, text }, step };
}

/** RFC 5321 4.2.1: a session that the smarthost ended, or lost. */
function troubleOf(receipt: Receipt): Trouble | null {
  if (receipt.kind === "lost") return receipt.trouble;
  if (receipt.kind !== "refused" || !receipt.ended) return null;
  const { reply } = receipt;
  return { kind: "connection", connected: true, why: reply.text, reply };
}

function reasonOf(failed: readonly FailedRecipient[]): FailureReason {
  const texts = new Set(failed.map(({ reply }) => reply.text));
  const text =
    texts.size === 1
      ? [...texts].join("")
      : failed.map(({ recipient, reply }) => `<${recipient}>: ${reply.text}`).join("\n");
  const code = Math.max(...failed.map(({ reply }) => reply.code));
  return { text, code, recipients: failed.map(({ recipient }) => recipient) };
}

type Told =
  | { kind: "message.delivered" | "message.failed"; extra?: undefined }
  | { kind: "message.deferred"; extra: { retrySeconds: number; unknown: boolean } };

function tell(
  at: Stations,
  { lease, ended }: { lease: Lease; ended: Ended },
  kind: Told["kind"],
  fates: readonly RecipientOutcome[],
  extra?: { retrySeconds: number; unknown: boolean },
): void {
  const to = fates.map(({ recipient }) => recipient);
  const reply = fates[0]?.reply ?? { code: 0, text: "" };
  const delivery = deliveryTo(lease.envelope.from, to, ended.attempt, reply, at.clock.monotonic());
  const { id } = lease;
  if (kind === "message.deferred") {
    const { retrySeconds = 0, unknown = false } = extra ?? {};
    at.journal.tell({ kind, id, delivery, retrySeconds, unknown });
  } else {
    at.journal.tell({ kind, id, delivery });
  }
}
