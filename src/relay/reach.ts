/** On the way to a smarthost: a session with one that can be used, or what becomes of the message without. */
import { type SettledOutcome, troubled } from "../core/outcome.ts";
import type { Smarthost, Trouble } from "../core/transport.ts";
import { conclude } from "./conclude.ts";
import type { Attempt } from "./delivery.ts";
import type { Forwarded, Outbound, Routed, Stations } from "./journey.ts";

export interface Reached {
  readonly smarthost: Smarthost;
  readonly trouble: Trouble | null;
}

/** Gets a session ready with the first smarthost that can be used. */
export async function reach(
  at: Stations,
  smarthosts: Routed["smarthosts"],
  { transport, unusable }: Outbound,
  signal: AbortSignal,
): Promise<Reached> {
  const { retrying } = at;
  let last: Reached | null = null;
  for (const smarthost of retrying?.usable(smarthosts) ?? smarthosts) {
    const { address } = smarthost;
    const known = unusable.get(address);
    const trouble = known ?? (await transport.prepare(smarthost, signal));
    if (trouble === null) return { smarthost, trouble };
    if (!signal.aborted) retrying?.fails(address, trouble);
    // Where mail is tried again, it is the pause that says so, until it ends.
    if (smarthosts.length > 1 && retrying === null) unusable.set(address, trouble);
    last = { smarthost, trouble };
  }
  return last ?? { smarthost: smarthosts[0], trouble: null };
}

/** What becomes of a message whose smarthosts cannot be used. */
export async function unreached(
  at: Stations,
  routed: Routed,
  { smarthost, trouble }: Reached,
  signal: AbortSignal,
): Promise<Forwarded> {
  const { lease } = routed;
  const attempt = notSent(smarthost, routed.started);
  const why = trouble ?? { kind: "connection", connected: false, why: "", reply: null };
  const { retrying } = at;
  // Where mail is tried again, the site's own trouble is no message's fault.
  if (retrying !== null && !signal.aborted) {
    return await retrying.unreached(at, routed, why, attempt);
  }
  const outcome: SettledOutcome =
    retrying === null
      ? troubled(why, lease.envelope.toRemote)
      : { kind: "queued", why: why.why, trouble: why };
  return await conclude(at, lease, { outcome, next: "continue", attempt });
}

export function notSent(smarthost: Smarthost, started: number): Attempt {
  return { smarthost, session: null, bytes: 0, started };
}
