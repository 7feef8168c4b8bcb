/** How a message leaves the queue, or does not: outcomes are carried out here, and told. */
import { assertNever } from "../core/assert-never.ts";
import type { Journal } from "../core/events.ts";
import type { Next, Verdict } from "../core/filter.ts";
import type { Outcome } from "../core/outcome.ts";
import type { Lease } from "../core/store.ts";
import { type Attempt, deliveryOf } from "./delivery.ts";

/** What the client of an immediate session is told, and the log. */
type Failed = Extract<Outcome, { kind: "failed" }>;

interface Ended {
  readonly outcome: Outcome;
  readonly next: Next;
  readonly attempt: Attempt;
}

/** Carries an outcome out and tells it: the one place where a message leaves the queue. */
export async function conclude(
  at: { readonly journal: Journal; readonly monotonic: () => number },
  lease: Lease,
  { outcome, next, attempt }: Ended,
): Promise<{ readonly kind: "over"; readonly outcome: Outcome; readonly next: Next }> {
  // Before the message ends: its envelope then has only the recipients that failed.
  const delivery = deliveryOf(lease.envelope, attempt, outcome, at.monotonic());
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
  return { kind: "over", outcome, next };
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
