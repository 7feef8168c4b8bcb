/**
 * The journey of one message: `receive` takes it from DATA to 250, `forward` from queue to smarthost.
 * Read this file first; every step it names lives in a room of its own.
 */
import { assertNever } from "../core/assert-never.ts";
import type { Clock } from "../core/clock.ts";
import type { Envelope } from "../core/envelope.ts";
import { RelayError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { Filter, Next, OpenFilter, Verdict } from "../core/filter.ts";
import type { IncomingContent, Submission } from "../core/intake.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Outcome } from "../core/outcome.ts";
import type { Reply } from "../core/reply.ts";
import type { Reporter } from "../core/report.ts";
import type { Draft, Lease, Store } from "../core/store.ts";
import type { Receipt, Smarthost, Transport, Trouble } from "../core/transport.ts";
import { conclude, concludeSent, refusedByFilter, unroutable, unsendable } from "./conclude.ts";
import type { Attempt } from "./delivery.ts";
import type { Linger } from "./linger.ts";
import type { Pace } from "./pace.ts";
import { elsewhere, failUnsent, notSent, type Reached, reach, unreached } from "./reach.ts";
import type { Retrying } from "./retrying.ts";
import { storageReply } from "./storage-reply.ts";
import type { Stragglers } from "./stragglers.ts";
import type { Survey } from "./survey.ts";
import { unrouted } from "./unrouted.ts";

/** What a journey needs from the rest of the house. */
export interface Stations {
  readonly store: Store;
  /** One for each session, or each connection to a smarthost; null: every message passes. */
  readonly openServerFilter: OpenFilter | null;
  readonly openClientFilter: OpenFilter | null;
  /** Asked before a smarthost is chosen, for messages that say where they want to go. */
  readonly openRoutingFilter: OpenFilter | null;
  /** Which smarthosts a message may go to, the best first. */
  readonly route: (envelope: Envelope) => readonly [Smarthost, ...Smarthost[]];
  readonly recipients: "all" | "some";
  /** null: what fails is set aside at once. */
  readonly retrying: Retrying | null;
  /** Connections to one smarthost at a time. */
  readonly parallel: number;
  readonly pace: Pace;
  readonly survey: Survey;
  readonly stragglers: Stragglers;
  readonly linger: Linger;
  /** null: senders are told nothing. */
  readonly reporter: Reporter | null;
  /** A sender is told once of a message that has waited so long; null for never. */
  readonly delayWarningSeconds: number | null;
  readonly journal: Journal;
  readonly requestRun: (reason: string) => void;
  readonly clock: Clock;
}

const PASS: Verdict = { kind: "pass", next: "continue" };

/** How half one ended: what to tell the client, and the message if it is in the queue now. */
export interface Received {
  readonly reply: Reply;
  readonly id: MessageId | null;
}

/**
 * Half one. 250 is said only after the commit, that is when content, envelope and directory entry
 * would survive a power cut. Storage trouble is a 452 or 451, and then nothing is left behind.
 * Rejects with ClientGone, and nothing else, when the client vanishes.
 */
export async function receive(
  at: Stations,
  submission: Submission,
  filter: Filter | null,
  signal: AbortSignal,
): Promise<Received> {
  const started = at.clock.monotonic();
  try {
    const draft = await createDraft(at.store, submission.content);
    // As `await using` would: what that is compiled to costs more, once for each message.
    try {
      at.journal.tell({ kind: "content.created", id: draft.id, peer: submission.peer });
      await storeContent(draft, submission.content);
      const refusal = submission.content.refusal();
      if (refusal !== null) return rejected(at, submission, draft, refusal, refusal.text);

      await draft.seal(submission.envelope);
      at.journal.tell({ kind: "envelope.created", id: draft.id, peer: submission.peer });
      const verdict = filter === null ? PASS : await filter.run(draft.files(), signal);
      const received = await commit(at, submission, { draft, verdict, started });
      if (verdict.next === "rescan") at.requestRun("rescan");
      return received;
    } finally {
      await draft[Symbol.asyncDispose]();
    }
  } catch (error) {
    if (!(error instanceof RelayError)) throw error;
    const text = `cannot store message: ${error.message}`;
    at.journal.tell({ kind: "note", level: "error", detail: false, text });
    return { reply: storageReply(error), id: null };
  }
}

/** The reply to a message has its place after the end of the data: read it all, whatever happens. */
async function createDraft(store: Store, content: IncomingContent): Promise<Draft> {
  try {
    return await store.create();
  } catch (error) {
    for await (const _ of content.chunks);
    throw error;
  }
}

async function storeContent(draft: Draft, { chunks }: IncomingContent): Promise<void> {
  if (Symbol.iterator in chunks) {
    for (const chunk of chunks) await draft.write(chunk);
    return;
  }
  const failures: unknown[] = [];
  for await (const chunk of chunks) {
    if (failures.length > 0) continue;
    try {
      await draft.write(chunk);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

async function commit(
  at: Stations,
  submission: Submission,
  sealed: { draft: Draft; verdict: Verdict; started: number },
): Promise<Received> {
  const { draft, verdict } = sealed;
  const processed: Reply = { code: 250, text: "message processed" };
  switch (verdict.kind) {
    case "reject":
      return rejected(at, submission, draft, verdict.reply, verdict.detail);
    case "abandon": {
      const left = await draft.commitIfLeft();
      at.journal.tell({ kind: "message.abandoned", id: draft.id });
      return { reply: processed, id: left ? draft.id : null };
    }
    case "pass":
      await draft.commit();
      at.journal.tell({
        kind: "message.accepted",
        id: draft.id,
        peer: submission.peer,
        from: submission.envelope.from,
        to: [...submission.envelope.toLocal, ...submission.envelope.toRemote],
        bytes: draft.size,
        account: submission.account,
        tls: submission.tls,
        ms: at.clock.monotonic() - sealed.started,
      });
      return { reply: processed, id: draft.id };
    default:
      return assertNever(verdict);
  }
}

function rejected(
  at: Stations,
  submission: Submission,
  draft: Draft,
  reply: Reply,
  why: string,
): Received {
  const { peer, envelope } = submission;
  at.journal.tell({
    kind: "message.rejected",
    id: draft.id,
    peer,
    from: envelope.from,
    reply,
    why,
  });
  return { reply, id: null };
}

/** How half two ended. */
export interface Forwarded {
  readonly kind: "over";
  /** "abandoned": a filter kept the message out of this run. "later": its turn is not now, and a client waits or another way is free. */
  readonly outcome: Outcome | { readonly kind: "abandoned" } | { readonly kind: "later" };
  readonly next: Next;
}

/** A message in hand. */
export interface Leased {
  readonly lease: Lease;
  /** True if it was put off before, by this program. */
  readonly hasWaited: boolean;
}

/** One whose destination is known. */
export interface Routed extends Leased {
  readonly kind: "routed";
  /** The best first. */
  readonly smarthosts: readonly [Smarthost, ...Smarthost[]];
  /** What the routing filter said; null when it was not asked. Then it is not asked again as client filter. */
  readonly verdict: Verdict | null;
  /** Monotonic milliseconds. */
  readonly started: number;
}

/** What is kept from message to message on the way to one smarthost. */
export interface Outbound {
  readonly transport: Transport;
  readonly clientFilter: Filter | null;
  /** Addresses that could not be used when there was another one to try: not asked again on this way. */
  readonly unusable: Map<string, Trouble>;
  /** Aborted when nothing more is to begin; null where a client waits for the answer: then nothing waits for its turn. */
  readonly soon: AbortSignal | null;
}

/**
 * Half two begins: decides where a message goes, by its envelope, which the routing filter may
 * change when it names a destination. What a filter says is an outcome; only our own faults throw.
 */
export async function route(
  at: Stations,
  { lease, hasWaited }: Leased,
  filter: Filter | null,
  signal: AbortSignal,
): Promise<Routed | Forwarded> {
  const started = at.clock.monotonic();
  if (at.retrying?.notes.owes(lease.id) === true) await at.retrying.notes.catchUp(lease);
  const { id, envelope } = lease;
  const { clientAccountSelector: selector, forwardTo, forwardToAddress } = envelope;
  at.journal.tell({ kind: "forward.message", id, selector, forwardTo, forwardToAddress });
  if (envelope.toRemote.length === 0) {
    const text = "failing message with no remote recipients";
    at.journal.tell({ kind: "note", level: "warning", detail: false, text });
    const outcome = unsendable([], "no remote recipients");
    return await failUnsent(at, lease, { outcome, next: "continue", started });
  }
  if (filter === null || forwardTo === "") {
    const smarthosts = at.route(envelope);
    return { kind: "routed", lease, smarthosts, verdict: null, started, hasWaited };
  }
  const verdict = await filter.run(lease.files(), signal);
  if (!signal.aborted) at.retrying?.lookups.heard(forwardTo, verdict);
  const { next } = verdict;
  if (verdict.kind === "abandon") return abandoned(at, lease, next);
  if (verdict.kind === "reject") {
    // RFC 5321 5.1: what DNS cannot say at the moment is no reason to give the message up.
    if (at.retrying !== null && verdict.temporary === true) {
      const why = verdict.detail;
      return await unrouted(at, at.retrying, lease, { why, next, started, hasWaited });
    }
    return await failUnsent(at, lease, { outcome: unroutable(envelope.toRemote), next, started });
  }
  const smarthosts = at.route(await lease.reread());
  return { kind: "routed", lease, smarthosts, verdict, started, hasWaited };
}

/**
 * Half two ends: hands the message to its smarthost. What that or a filter says is an outcome; only
 * our own faults throw. The message is removed when delivered, set aside as `.bad` when refused,
 * and otherwise goes back to the queue when the lease is disposed.
 */
export async function forward(
  at: Stations,
  routed: Routed,
  outbound: Outbound,
  signal: AbortSignal,
): Promise<Forwarded> {
  const { lease, smarthosts, verdict: routing, started } = routed;
  const { transport, clientFilter } = outbound;
  let reached = await reach(at, smarthosts, outbound, signal);
  if (reached.trouble !== null) return await unreached(at, routed, reached, signal);
  if (isLate(at, reached, outbound)) return later();
  const filter = routing === null ? clientFilter : null;
  const verdict = filter === null ? (routing ?? PASS) : await filter.run(lease.files(), signal);
  const { next } = verdict;
  if (verdict.kind === "abandon") return abandoned(at, lease, next);
  if (filter !== null) await lease.reread();
  if (verdict.kind === "reject") {
    const outcome = refusedByFilter(lease.envelope.toRemote, verdict);
    const attempt = { ...notSent(reached.smarthost, started), session: transport.session };
    return await conclude(at, lease, { outcome, next, attempt });
  }
  // Others may have had their turn meanwhile.
  if (isLate(at, reached, outbound)) return later();
  if (at.pace.limited && (await ownTurn(at, reached, outbound, signal))) {
    // No smarthost keeps a session for as long.
    reached = await reach(at, smarthosts, outbound, signal);
    if (reached.trouble !== null) return await unreached(at, routed, reached, signal);
  }
  // The session is gone when a message has ended it: what it was is asked before.
  const { session } = transport;
  const { receipt, bytes } = await send(lease, transport, signal);
  if (receipt === null) return later();
  const other = await elsewhere(at, { routed, reached, outbound }, receipt, signal);
  if (other !== null) return await forward(at, { ...other, verdict }, outbound, signal);
  const attempt: Attempt = { smarthost: reached.smarthost, session, bytes, started };
  return await concludeSent(at, routed, receipt, { next, attempt });
}

/** True where somebody waits for the answer, and the message may not go at once. */
function isLate({ pace }: Stations, { smarthost }: Reached, { soon }: Outbound): boolean {
  return soon === null && !pace.isFree(smarthost.address);
}

/** True if it took some time. */
async function ownTurn(
  { pace }: Stations,
  { smarthost }: Reached,
  { soon }: Outbound,
  signal: AbortSignal,
): Promise<boolean> {
  const mayWait = soon === null ? signal : AbortSignal.any([signal, soon]);
  return await pace.turn(smarthost.address, mayWait);
}

function abandoned(at: Stations, lease: Lease, next: Next): Forwarded {
  at.journal.tell({ kind: "forward.abandoned", id: lease.id });
  return { kind: "over", outcome: { kind: "abandoned" }, next };
}

function later(): Forwarded {
  return { kind: "over", outcome: { kind: "later" }, next: "continue" };
}

/** A message without content is never sent empty; other storage trouble leaves it in the queue. */
async function send(
  lease: Lease,
  transport: Transport,
  signal: AbortSignal,
): Promise<{ readonly receipt: Receipt | null; readonly bytes: number }> {
  try {
    const content = await lease.content();
    try {
      const receipt = await transport.send(lease.envelope, content, signal);
      return { receipt, bytes: content.size };
    } finally {
      await content[Symbol.asyncDispose]();
    }
  } catch (error) {
    if (!(error instanceof RelayError) || error.code !== "CONTENT_MISSING") throw error;
    return { receipt: { kind: "unsendable", why: error.message }, bytes: 0 };
  }
}
