/** What a receipt means for each recipient of a message that may be tried again. Source: RFC 5321 4.2.1, 4.5.4.1. */
import { assertNever } from "./assert-never.ts";
import type { Reply } from "./reply.ts";
import type { Receipt, RejectedRecipient } from "./transport.ts";

export interface RecipientOutcome {
  readonly recipient: string;
  /** deferred: tried again later. */
  readonly kind: "delivered" | "deferred" | "failed";
  /** The smarthost's words; code 0 for ours. */
  readonly reply: Reply;
}

/** One outcome for each recipient, in their order. */
export function settleEach(receipt: Receipt, recipients: readonly string[]): RecipientOutcome[] {
  switch (receipt.kind) {
    case "accepted":
      return recipients.map(
        (recipient) =>
          refusalOf(recipient, receipt.rejected) ?? {
            recipient,
            kind: "delivered",
            reply: receipt.reply,
          },
      );
    case "refused":
      return receipt.step === "rcpt"
        ? rejected(receipt, recipients)
        : all(recipients, receipt.reply);
    case "unsendable": {
      const reply = { code: 0, text: receipt.why };
      return recipients.map((recipient) => ({ recipient, kind: "failed", reply }));
    }
    case "lost": {
      const { why, reply } = receipt.trouble;
      const said = reply ?? { code: 0, text: why };
      return recipients.map((recipient) => ({ recipient, kind: "deferred", reply: said }));
    }
    default:
      return assertNever(receipt);
  }
}

function all(recipients: readonly string[], reply: Reply): RecipientOutcome[] {
  const kind = verdict(reply);
  return recipients.map((recipient) => ({ recipient, kind, reply }));
}

/** Where all recipients must be accepted, those who were share the fate of those who were not. */
function rejected(
  { reply, rejected: refusals }: Extract<Receipt, { kind: "refused" }>,
  recipients: readonly string[],
): RecipientOutcome[] {
  const worst = refusals.find((one) => verdict(one.reply) === "failed")?.reply ?? reply;
  return recipients.map(
    (recipient) =>
      refusalOf(recipient, refusals) ?? { recipient, kind: verdict(worst), reply: worst },
  );
}

function refusalOf(
  recipient: string,
  refusals: readonly RejectedRecipient[],
): RecipientOutcome | null {
  const refusal = refusals.find((one) => one.recipient === recipient);
  if (refusal === undefined) return null;
  return { recipient, kind: verdict(refusal.reply), reply: refusal.reply };
}

function verdict({ code }: Reply): "deferred" | "failed" {
  return code < 500 ? "deferred" : "failed";
}
