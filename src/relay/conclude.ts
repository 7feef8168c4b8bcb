/** How a message leaves the queue, or does not: outcomes are carried out here, and told. */
import { assertNever } from "../core/assert-never.ts";
import type { Verdict } from "../core/filter.ts";
import type { SettledOutcome } from "../core/outcome.ts";
import type { Reply } from "../core/reply.ts";
import type { Lease } from "../core/store.ts";
import { deliveryOf } from "./delivery.ts";
import type { Forwarded, Stations } from "./journey.ts";
import { type Ended, tellSender } from "./reporting.ts";

/** What the client of an immediate session is told, and the log. */
type Failed = Extract<SettledOutcome, { kind: "failed" }>;

/** Carries an outcome out and tells it: the one place where a message leaves the queue. */
export async function conclude(
  at: Stations,
  lease: Lease,
  { outcome, next, attempt }: Ended & { readonly outcome: SettledOutcome },
): Promise<Forwarded> {
  // Before the message ends: its envelope then has only the recipients that failed.
  const delivery = deliveryOf(lease.envelope, attempt, outcome, at.clock.monotonic());
  const { id } = lease;
  switch (outcome.kind) {
    case "delivered":
      await lease.complete();
      at.journal.tell({ kind: "message.delivered", id, delivery });
      break;
    case "failed":
      await tellSender(at, { lease, ended: { next, attempt } }, concerned(outcome));
      await lease.fail(outcome.reason);
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

/** Whom the failure concerns, with the smarthost's words, or ours. */
function concerned({ reason }: Failed): { recipient: string; reply: Reply }[] {
  const reply = { code: reason.code, text: reason.text };
  return reason.recipients.map((recipient) => ({ recipient, reply }));
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
