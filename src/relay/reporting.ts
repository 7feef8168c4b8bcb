/** When senders are told what became of their mail (--bounce). */
import { dsnOf, isWanted } from "../core/dsn.ts";
import { describeError } from "../core/errors.ts";
import type { Next } from "../core/filter.ts";
import type { Reply } from "../core/reply.ts";
import type { RecipientReport, Report } from "../core/report.ts";
import { retryStateOf, withRetryState } from "../core/retry-state.ts";
import type { RecipientOutcome } from "../core/settle-each.ts";
import type { Content, Lease } from "../core/store.ts";
import { agedFrom, ageToNote, arrivedAt } from "./arrival.ts";
import type { Attempt } from "./delivery.ts";
import type { Stations } from "./journey.ts";
import type { Retrying } from "./retrying.ts";

/** How the reason begins of what was not delivered in its time; the rest is what was said last. */
export const EXPIRED = "delivery time expired: ";

/** How an attempt ended, besides its outcome. */
export interface Ended {
  readonly next: Next;
  readonly attempt: Attempt;
}

/** Code 0 for our own words; `step`: what the smarthost's answered. */
interface Concerned {
  readonly recipient: string;
  readonly reply: Reply;
  readonly step: RecipientOutcome["step"];
}

interface Subject {
  readonly lease: Lease;
  readonly ended: Ended;
}

/** Tells of final failures, before the message is set aside: a crash in between tells twice, never not at all. */
export async function tellSender(
  at: Stations,
  subject: Subject,
  failed: readonly Concerned[],
): Promise<void> {
  await report(at, subject, { action: "failed", concerned: failed, retriedUntil: null });
}

/** True where senders may want to hear of success: the smarthost will tell nothing itself. */
export function tellsRelayed({ reporter }: Stations, { attempt }: Ended): boolean {
  return reporter !== null && attempt.session?.dsn === false;
}

/**
 * Tells of what was handed to a smarthost that will tell nothing itself: only those who asked for it
 * (RFC 3461 5.2.2). Before the message is removed, and only where `tellsRelayed`.
 */
export async function tellRelayed(
  at: Stations,
  subject: Subject,
  delivered: readonly Concerned[],
): Promise<void> {
  const dsn = dsnOf(subject.lease.envelope.trailer);
  const concerned = delivered.filter(({ recipient }) => isWanted(dsn, recipient, "relayed"));
  if (concerned.length === 0) return;
  await report(at, subject, { action: "relayed", concerned, retriedUntil: null });
}

/** Tells once of a message that has waited long. */
export async function warnSender(
  at: Stations,
  retrying: Retrying,
  subject: Subject,
  deferred: readonly Concerned[],
): Promise<void> {
  const { lease } = subject;
  const nowMs = at.clock.now();
  const now = Math.floor(nowMs / 1000);
  const envelope = retrying.notes.envelopeOf(lease);
  const state = retryStateOf(envelope);
  const after = at.delayWarningSeconds;
  if (at.reporter === null || after === null || state.warned > 0) return;
  const from = await agedFrom(lease, nowMs);
  if (from === null || now - from < after) return;
  const retriedUntil = await retrying.triedUntil(lease);
  await report(at, subject, { action: "delayed", concerned: deferred, retriedUntil });
  const noted = { ...state, arrived: await ageToNote(lease, nowMs), warned: now };
  await retrying.notes.write(lease, withRetryState(envelope, envelope.toRemote, noted));
}

/** A report that cannot be queued holds nothing up: the message is in the spool, and the log says so. */
async function report(
  at: Stations,
  { lease, ended }: Subject,
  what: Pick<Report, "action" | "retriedUntil"> & { readonly concerned: readonly Concerned[] },
): Promise<void> {
  if (at.reporter === null || lease.envelope.from === "") return;
  const lastAttempt = Math.floor(at.clock.now() / 1000);
  const { smarthost } = ended.attempt;
  // Who is named twice is told of once.
  const concerned = new Map(what.concerned.map((one) => [one.recipient, one])).values();
  try {
    await at.reporter.report({
      action: what.action,
      retriedUntil: what.retriedUntil,
      envelope: lease.envelope,
      content: async () => await contentOf(lease),
      recipients: Array.from(concerned, (one) => ({
        ...recipientReport(one, what.action),
        smarthost: smarthost.address,
        lastAttempt,
      })),
      arrived: (await arrivedAt(lease)) ?? lastAttempt,
    });
  } catch (error) {
    const text = `cannot report to the sender of ${lease.id}: ${describeError(error)}`;
    at.journal.tell({ kind: "note", level: "error", detail: false, text });
  }
}

async function contentOf(lease: Lease): Promise<Content | null> {
  try {
    return await lease.content();
  } catch {
    return null;
  }
}

function recipientReport(
  { recipient, reply, step }: Concerned,
  action: Report["action"],
): Omit<RecipientReport, "smarthost" | "lastAttempt"> {
  // The smarthost has said no more than that it did not take it.
  const said = reply.text.startsWith(EXPIRED)
    ? { ...reply, text: reply.text.slice(EXPIRED.length) }
    : reply;
  return {
    recipient,
    reply: said.code === 0 ? null : said,
    ...(step === null ? {} : { step }),
    why: reply.text,
    status: statusOf(reply, action),
  };
}

/** RFC 3463: as the smarthost said it, or the general one of its class. */
function statusOf({ code, text }: Reply, action: Report["action"]): string {
  if (text.startsWith(EXPIRED)) return "4.4.7";
  if (code >= 200 && code < 300) return "2.0.0";
  const [said] = /^[45]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(text) ?? [];
  if (said !== undefined) return said;
  // What is only delayed has not failed for good, whatever it waits for.
  return action === "delayed" || (code >= 400 && code < 500) ? "4.0.0" : "5.0.0";
}
