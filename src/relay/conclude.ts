/** How a message leaves the queue, or does not: outcomes are carried out here, and told. */
import { assertNever } from "../core/assert-never.ts";
import type { Verdict } from "../core/filter.ts";
import { type SettledOutcome, settle } from "../core/outcome.ts";
import { type RecipientOutcome, settleEach } from "../core/settle-each.ts";
import type { Lease } from "../core/store.ts";
import type { Receipt } from "../core/transport.ts";
import { concludeEach, setAsideAll } from "./conclude-each.ts";
import { deliveryOf } from "./delivery.ts";
import type { Forwarded, Routed, Stations } from "./journey.ts";
import { type Ended, tellRelayed, tellSender, tellsRelayed } from "./reporting.ts";

/** What the client of an immediate session is told, and the log. */
type Failed = Extract<SettledOutcome, { kind: "failed" }>;

/** Carries out and tells what a smarthost said about a message. */
export function concludeSent(
  at: Stations,
  routed: Routed,
  receipt: Receipt,
  ended: Ended,
): Promise<Forwarded> {
  if (at.retrying !== null) return concludeEach(at, at.retrying, routed, receipt, ended);
  const { lease } = routed;
  const outcome = settle(receipt, lease.envelope.toRemote, at.recipients);
  return conclude(at, lease, { outcome, receipt, next: ended.next, attempt: ended.attempt });
}

/** Carries an outcome out and tells it: the one place where a message leaves the queue. */
export async function conclude(
  at: Stations,
  lease: Lease,
  given: Ended & {
    readonly outcome: SettledOutcome;
    /** What the smarthost said, where it was asked. */
    readonly receipt?: Receipt;
  },
): Promise<Forwarded> {
  const { outcome, next, attempt } = given;
  const subject = { lease, ended: given };
  // Before the message ends: its envelope then has only the recipients that failed.
  const delivery = deliveryOf(lease.envelope, attempt, outcome, at.clock.monotonic());
  const { id } = lease;
  switch (outcome.kind) {
    case "delivered":
      if (tellsRelayed(at, given)) {
        await tellRelayed(at, subject, concerned(at, given, lease.envelope.toRemote));
      }
      await lease.complete();
      at.journal.tell({ kind: "message.delivered", id, delivery });
      break;
    case "failed":
      await tellSender(at, subject, concerned(at, given, outcome.reason.recipients));
      // Others may have it all the same.
      if (given.receipt !== undefined && tellsRelayed(at, given)) {
        const fates = settleEach(given.receipt, lease.envelope.toRemote, at.recipients);
        await tellRelayed(
          at,
          subject,
          fates.filter(({ kind }) => kind === "delivered"),
        );
      }
      if (at.retrying === null) await lease.fail(outcome.reason);
      else await setAsideAll(at.retrying, lease, outcome.reason);
      at.journal.tell({ kind: "message.failed", id, delivery });
      break;
    case "queued":
      at.journal.tell({ kind: "message.queued", id, delivery });
      break;
    default:
      assertNever(outcome);
  }
  return { kind: "over", outcome, next };
}

/** Those whom it concerns, with the smarthost's words for each, or ours. */
function concerned(
  { recipients: forwardTo }: Stations,
  { outcome, receipt }: { readonly outcome: SettledOutcome; readonly receipt?: Receipt },
  recipients: readonly string[],
): Pick<RecipientOutcome, "recipient" | "reply" | "step">[] {
  if (receipt !== undefined) return settleEach(receipt, recipients, forwardTo);
  const text = outcome.kind === "failed" ? outcome.reason.text : "";
  return recipients.map((recipient) => ({ recipient, reply: { code: 0, text }, step: null }));
}

/** Reason and code as observed: E-MailRelay 2.6 (R9). */
export function refusedByFilter(
  recipients: readonly string[],
  { detail, reply }: Extract<Verdict, { kind: "reject" }>,
): Failed {
  return {
    kind: "failed",
    reason: { text: detail, code: 550, recipients },
    trouble: null,
    reply,
  };
}

/** R9: the reason has no code. */
export function unroutable(recipients: readonly string[]): Failed {
  return {
    kind: "failed",
    reason: { text: "routing filter failed", code: 0, recipients },
    trouble: null,
    reply: { code: 452, text: "routing failed" },
  };
}

/** Something about the message itself; no smarthost was asked. */
export function unsendable(recipients: readonly string[], text: string): Failed {
  return {
    kind: "failed",
    reason: { text, code: 0, recipients },
    trouble: null,
    reply: { code: 554, text },
  };
}
