/**
 * The journey of one message: `receive` takes it from DATA to 250, `forward` from queue to smarthost.
 * Read this file first; every step it names lives in a room of its own.
 */
import { assertNever } from "../core/assert-never.ts";
import type { Envelope } from "../core/envelope.ts";
import { RelayError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { Filter, Next, Verdict } from "../core/filter.ts";
import type { IncomingContent, Submission } from "../core/intake.ts";
import type { MessageId } from "../core/message-id.ts";
import { type Outcome, settle, troubled } from "../core/outcome.ts";
import type { Reply } from "../core/reply.ts";
import type { Draft, Lease, Store } from "../core/store.ts";
import type { Smarthost, Transport } from "../core/transport.ts";
import { type Attempt, deliveryOf } from "./delivery.ts";
import { storageReply } from "./storage-reply.ts";

/** What a journey needs from the rest of the house. */
export interface Stations {
  readonly store: Store;
  /** null: every message passes. */
  readonly serverFilter: Filter | null;
  readonly clientFilter: Filter | null;
  /** Which smarthost a message goes to. */
  readonly route: (envelope: Envelope) => Smarthost;
  readonly recipients: "all" | "some";
  readonly journal: Journal;
  readonly requestRun: (reason: string) => void;
  /** Milliseconds by a clock that never goes back. */
  readonly monotonic: () => number;
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
  signal: AbortSignal,
): Promise<Received> {
  const started = at.monotonic();
  try {
    await using draft = await createDraft(at.store, submission.content);
    at.journal.tell({ kind: "content.created", id: draft.id, peer: submission.peer });
    await storeContent(draft, submission.content);
    const refusal = submission.content.refusal();
    if (refusal !== null) return rejected(at, submission, draft, refusal, refusal.text);

    await draft.seal(submission.envelope);
    at.journal.tell({ kind: "envelope.created", id: draft.id, peer: submission.peer });
    const verdict = (await at.serverFilter?.run(draft.files(), signal)) ?? PASS;
    if (verdict.next === "rescan") at.requestRun("rescan");
    return await commit(at, submission, { draft, verdict, started });
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

async function storeContent(draft: Draft, content: IncomingContent): Promise<void> {
  const failures: unknown[] = [];
  for await (const chunk of content.chunks) {
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
        ms: at.monotonic() - sealed.started,
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
  /** "abandoned": the client filter took the message out of this run. */
  readonly outcome: Outcome | { readonly kind: "abandoned" };
  readonly next: Next;
}

/**
 * Half two. What a smarthost or a filter says is an outcome; only our own faults throw. The message
 * is removed when delivered, set aside as `.bad` when refused, and otherwise goes back to the queue
 * when the lease is disposed.
 */
export async function forward(
  at: Stations,
  lease: Lease,
  transport: Transport,
  signal: AbortSignal,
): Promise<Forwarded> {
  const started = at.monotonic();
  const { clientAccountSelector: selector, forwardTo, forwardToAddress } = lease.envelope;
  at.journal.tell({
    kind: "forward.message",
    id: lease.id,
    selector,
    forwardTo,
    forwardToAddress,
  });
  const smarthost = at.route(lease.envelope);
  const report = { envelope: lease.envelope, smarthost, session: null, bytes: 0, started };
  const early = await getReady(lease.envelope, smarthost, transport, signal);
  if (early !== null)
    return await conclude(at, lease, { outcome: early, next: "continue", report });

  const verdict = (await at.clientFilter?.run(lease.files(), signal)) ?? PASS;
  if (verdict.kind === "abandon") return { outcome: { kind: "abandoned" }, next: verdict.next };
  const envelope = at.clientFilter === null ? lease.envelope : await lease.reread();
  const { session } = transport;
  const { outcome, bytes } =
    verdict.kind === "reject"
      ? { outcome: filtered(envelope, verdict.detail, verdict.reply), bytes: 0 }
      : await send(at, lease, envelope, transport, signal);
  return await conclude(at, lease, {
    outcome,
    next: verdict.next,
    report: { ...report, envelope, session, bytes },
  });
}

/** null when the session is ready for this message; else what became of the message already. */
async function getReady(
  envelope: Envelope,
  smarthost: Smarthost,
  transport: Transport,
  signal: AbortSignal,
): Promise<Outcome | null> {
  if (envelope.toRemote.length === 0) return unsendable([], "no remote recipients");
  const trouble = await transport.prepare(smarthost, signal);
  return trouble === null ? null : troubled(trouble, envelope.toRemote);
}

async function send(
  at: Stations,
  lease: Lease,
  envelope: Envelope,
  transport: Transport,
  signal: AbortSignal,
): Promise<{ outcome: Outcome; bytes: number }> {
  try {
    await using content = await lease.content();
    const receipt = await transport.send(envelope, content, signal);
    return { outcome: settle(receipt, envelope.toRemote, at.recipients), bytes: content.size };
  } catch (error) {
    // A message without content is never sent empty; other storage trouble leaves it in the queue.
    if (!(error instanceof RelayError) || error.code !== "CONTENT_MISSING") throw error;
    return { outcome: unsendable(envelope.toRemote, error.message), bytes: 0 };
  }
}

function filtered(envelope: Envelope, why: string, reply: Reply): Outcome {
  return {
    kind: "failed",
    reason: { text: why, code: 550, recipients: envelope.toRemote },
    trouble: null,
    reply,
  };
}

function unsendable(recipients: readonly string[], text: string): Outcome {
  return {
    kind: "failed",
    reason: { text, code: 0, recipients },
    trouble: null,
    reply: { code: 554, text },
  };
}

/** Carries an outcome out and tells it: the one place where a message leaves the queue. */
async function conclude(
  at: Stations,
  lease: Lease,
  ended: { outcome: Outcome; next: Next; report: Attempt },
): Promise<Forwarded> {
  const { outcome, next } = ended;
  const delivery = deliveryOf(ended.report, outcome, at.monotonic());
  const { id } = lease;
  switch (outcome.kind) {
    case "delivered":
      await lease.complete();
      at.journal.tell({ kind: "message.delivered", id, delivery });
      break;
    case "failed":
      await lease.fail(outcome.reason);
      at.journal.tell({ kind: "message.failed", id, delivery });
      break;
    case "queued":
      at.journal.tell({ kind: "message.queued", id, delivery });
      break;
    default:
      assertNever(outcome);
  }
  return { outcome, next };
}
