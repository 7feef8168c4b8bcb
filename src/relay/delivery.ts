/** The one line about a finished attempt: what was sent where, and how it ended. */
import type { Envelope } from "../core/envelope.ts";
import type { Delivery } from "../core/events.ts";
import type { SettledOutcome } from "../core/outcome.ts";
import type { Reply } from "../core/reply.ts";
import type { Smarthost, TransportSession } from "../core/transport.ts";

export interface Attempt {
  readonly smarthost: Smarthost;
  /** null when there was none. */
  readonly session: TransportSession | null;
  /** Content size. */
  readonly bytes: number;
  /** Monotonic milliseconds. */
  readonly started: number;
}

export function deliveryOf(
  envelope: Envelope,
  attempt: Attempt,
  outcome: SettledOutcome,
  now: number,
): Delivery {
  return deliveryTo(envelope.from, envelope.toRemote, attempt, answer(outcome), now);
}

/** As far as it concerns these recipients. `now`: monotonic milliseconds. */
export function deliveryTo(
  from: string,
  to: readonly string[],
  attempt: Attempt,
  { code, text }: Reply,
  now: number,
): Delivery {
  const { session } = attempt;
  return {
    from,
    to,
    bytes: attempt.bytes,
    smarthost: attempt.smarthost.address,
    peer: session?.peer ?? "",
    tls: session?.tls ?? "",
    account: session?.account ?? "",
    code,
    text,
    ms: Math.round(now - attempt.started),
  };
}

function answer(outcome: SettledOutcome): Reply {
  if (outcome.kind === "delivered") return outcome.reply;
  if (outcome.kind === "queued")
    return { code: outcome.trouble.reply?.code ?? 0, text: outcome.why };
  return outcome.reason;
}
