/** What a receipt means for the message. The one place that decides delivered, queued again or failed. */
import { assertNever } from "./assert-never.ts";
import { isRefusal, type Reply } from "./reply.ts";
import type { FailureReason } from "./store.ts";
import type { Receipt, Trouble } from "./transport.ts";

/** How one forwarding attempt ended, and whether the run can go on with the same session. */
export type Outcome =
  | { readonly kind: "delivered"; readonly reply: Reply }
  /** Tried again later, for some recipients at least. */
  | { readonly kind: "deferred"; readonly trouble: Trouble | null; readonly reply: Reply }
  /** Back into the queue as it was; the reason is for the log. */
  | { readonly kind: "queued"; readonly why: string; readonly trouble: Trouble }
  | {
      readonly kind: "failed";
      readonly reason: FailureReason;
      /** What ended the session too; null when the session goes on. */
      readonly trouble: Trouble | null;
      /** For whoever waits for an answer (--immediate): the refusal of this message. */
      readonly reply: Reply;
    };

/** How an attempt ends where nothing is tried again recipient by recipient. */
export type SettledOutcome = Exclude<Outcome, { kind: "deferred" }>;

/** Bare E-MailRelay rules with the deviations of decision D4. */
export function settle(
  receipt: Receipt,
  recipients: readonly string[],
  forwardTo: "all" | "some",
): SettledOutcome {
  switch (receipt.kind) {
    case "accepted":
      return receipt.rejected.length === 0
        ? { kind: "delivered", reply: receipt.reply }
        : partly(receipt.rejected);
    case "refused":
      return refused(receipt, recipients, forwardTo);
    case "unsendable":
      return {
        kind: "failed",
        reason: { text: receipt.why, code: 0, recipients },
        trouble: null,
        reply: { code: 554, text: receipt.why },
      };
    case "lost":
      return troubled(receipt.trouble, recipients);
    default:
      return assertNever(receipt);
  }
}

/** A session that could not be made ready, or ended: what that means for the message in hand. */
export function troubled(trouble: Trouble, recipients: readonly string[]): SettledOutcome {
  if (trouble.kind === "connection") return { kind: "queued", why: trouble.why, trouble };
  return {
    kind: "failed",
    reason: { text: trouble.why, code: refusalIn(trouble)?.code ?? 0, recipients },
    trouble,
    // What refuses our own login or TLS answers AUTH or STARTTLS (RFC 4954 6): who sent the message would take it
    // for a verdict on theirs. Nor is it to come again, though: it is set aside here, and would be each time.
    reply: { code: 554, text: "forwarding failed" },
  };
}

/** The reply that may be told of a message that was not delivered: with any other it would look as if it was. */
export function refusalIn({ reply }: Trouble): Reply | null {
  return reply !== null && isRefusal(reply) ? reply : null;
}

function partly(rejected: Extract<Receipt, { kind: "accepted" }>["rejected"]): SettledOutcome {
  const reply = worst(rejected.map((one) => one.reply));
  const recipients = rejected.map((one) => one.recipient);
  const reason = { text: "one or more recipients rejected", code: reply.code, recipients };
  return { kind: "failed", reason, trouble: null, reply };
}

function refused(
  receipt: Extract<Receipt, { kind: "refused" }>,
  recipients: readonly string[],
  forwardTo: "all" | "some",
): SettledOutcome {
  const { step, reply } = receipt;
  let text = reply.text;
  if (step === "rcpt") {
    text = `${forwardTo === "all" ? "one or more" : "all"} recipients rejected`;
  }
  if (step === "data") text = `smtp error: unexpected response: ${reply.text}`;
  const trouble: Trouble | null = receipt.ended
    ? { kind: "connection", connected: true, why: text, reply }
    : null;
  return { kind: "failed", reason: { text, code: reply.code, recipients }, trouble, reply };
}

/** A permanent refusal outranks a temporary one; ours (code 0) is permanent. */
function worst(replies: readonly Reply[]): Reply {
  const permanent =
    replies.find(({ code }) => code >= 500) ?? replies.find(({ code }) => code === 0);
  return permanent ?? replies[0] ?? { code: 550, text: "one or more recipients rejected" };
}
