/** What a receipt means for each recipient of a message that may be tried again. Source: RFC 5321 4.2.1, 4.5.4.1. */
import { assertNever } from "./assert-never.ts";
import { refusalIn } from "./outcome.ts";
import type { Reply } from "./reply.ts";
import type { Receipt, RejectedRecipient } from "./transport.ts";

export interface RecipientOutcome {
  readonly recipient: string;
  /** deferred: tried again later. */
  readonly kind: "delivered" | "deferred" | "failed";
  /** The smarthost's words; code 0 for ours. */
  readonly reply: Reply;
  /** What those answered; null for ours. */
  readonly step: "mail" | "rcpt" | "data" | "content" | null;
}

/** One outcome for each recipient, in their order; one for who is named twice. `forwardTo`: whether the message is for all of them or for none. */
export function settleEach(
  receipt: Receipt,
  named: readonly string[],
  forwardTo: "all" | "some",
): RecipientOutcome[] {
  const recipients = [...new Set(named)];
  switch (receipt.kind) {
    case "accepted": {
      const refusals = byRecipient(receipt.rejected);
      return recipients.map(
        (recipient) =>
          beyondMany(refusals.get(recipient) ?? null) ?? {
            recipient,
            kind: "delivered",
            reply: receipt.reply,
            step: "content",
          },
      );
    }
    case "refused":
      return receipt.step === "rcpt"
        ? rejected(receipt, recipients)
        : all(recipients, receipt.reply, receipt.step);
    case "unsendable": {
      const reply = { code: 0, text: receipt.why };
      return recipients.map((recipient) => ({ recipient, kind: "failed", reply, step: null }));
    }
    case "lost":
      return lost(receipt, recipients, forwardTo);
    default:
      return assertNever(receipt);
  }
}

function all(
  recipients: readonly string[],
  reply: Reply,
  step: RecipientOutcome["step"],
): RecipientOutcome[] {
  const kind = verdict(reply);
  return recipients.map((recipient) => ({ recipient, kind, reply, step }));
}

/**
 * What had been refused before the session ended is not asked again: hosts that hang up on too many
 * unknown recipients would do so each time, and nobody would ever be told of them.
 */
function lost(
  { trouble, rejected: refusals = [] }: Extract<Receipt, { kind: "lost" }>,
  recipients: readonly string[],
  forwardTo: "all" | "some",
): RecipientOutcome[] {
  const final = refusals.find(({ reply }) => verdict(reply) === "failed");
  if (forwardTo === "all" && final !== undefined) {
    return rejected({ reply: final.reply, rejected: refusals }, recipients);
  }
  const said = refusalIn(trouble) ?? { code: 0, text: trouble.why };
  const refused = byRecipient(refusals);
  return recipients.map(
    (recipient) =>
      beyondMany(refused.get(recipient) ?? null) ?? {
        recipient,
        kind: "deferred",
        reply: said,
        step: null,
      },
  );
}

/** Where all recipients must be accepted, those who were share the fate of those who were not. */
function rejected(
  { reply, rejected: refusals }: Pick<Extract<Receipt, { kind: "refused" }>, "reply" | "rejected">,
  recipients: readonly string[],
): RecipientOutcome[] {
  const refused = byRecipient(refusals);
  const worst = refusals.find((one) => verdict(one.reply) === "failed")?.reply ?? reply;
  const kind = verdict(worst);
  const shared = { code: 0, text: `not sent, since another recipient was refused: ${worst.text}` };
  return recipients.map(
    (recipient) => refused.get(recipient) ?? { recipient, kind, reply: shared, step: null },
  );
}

/** The first refusal of each: there may be tens of thousands. */
function byRecipient(
  refusals: readonly RejectedRecipient[],
): ReadonlyMap<string, RecipientOutcome> {
  const found = new Map<string, RecipientOutcome>();
  for (const { recipient, reply } of refusals) {
    if (found.has(recipient)) continue;
    const step = reply.code === 0 ? null : "rcpt";
    found.set(recipient, { recipient, kind: verdict(reply), reply, step });
  }
  return found;
}

/** RFC 5321 4.5.3.1.10: who is one too many beside others gets it with the next attempt. */
function beyondMany(outcome: RecipientOutcome | null): RecipientOutcome | null {
  if (outcome === null || !/^5\.5\.3\b|\btoo many recipients\b/i.test(outcome.reply.text)) {
    return outcome;
  }
  return { ...outcome, kind: "deferred" };
}

/** What we say ourselves (code 0) will be the same the next time. */
function verdict({ code }: Reply): "deferred" | "failed" {
  return code > 0 && code < 500 ? "deferred" : "failed";
}
