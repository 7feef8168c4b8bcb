/** On the way to a smarthost: a session with one that can be used, or what becomes of the message without. */
import type { Next } from "../core/filter.ts";
import { type SettledOutcome, troubled } from "../core/outcome.ts";
import type { Lease } from "../core/store.ts";
import type { Receipt, Smarthost, Trouble } from "../core/transport.ts";
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
    if (!signal.aborted) retrying?.fails(smarthost, trouble);
    // Where mail is tried again, it is the pause that says so, until it ends.
    if (smarthosts.length > 1 && retrying === null) unusable.set(address, trouble);
    last = { smarthost, trouble };
  }
  return last ?? { smarthost: smarthosts[0], trouble: null };
}

interface Way {
  readonly routed: Routed;
  readonly reached: Reached;
  readonly outbound: Outbound;
}

/**
 * Where a message goes whose connection was lost: to the next smarthost at once, as long as nobody can
 * have taken it. null when there is none, or none that can be used: then it was lost here.
 */
export function elsewhere(
  at: Stations,
  way: Way,
  receipt: Receipt,
  signal: AbortSignal,
): Promise<Routed | null> | null {
  if (receipt.kind !== "lost" || receipt.unknown) return null;
  return way.outbound.soon?.aborted === true ? null : toNext(at, way, receipt.trouble, signal);
}

async function toNext(
  at: Stations,
  { routed, reached, outbound }: Way,
  trouble: Trouble,
  signal: AbortSignal,
): Promise<Routed | null> {
  const { retrying } = at;
  const { unusable } = outbound;
  const { address } = reached.smarthost;
  const [first, ...others] = routed.smarthosts.filter((one) => one.address !== address);
  if (first === undefined || retrying?.pauseOf([first, ...others]) != null) return null;
  const next = await reach(at, [first, ...others], outbound, signal);
  if (next.trouble !== null) {
    if (retrying === null) unusable.set(next.smarthost.address, next.trouble);
    return null;
  }
  at.journal.tell({ kind: "smarthost.failed", address, why: trouble.why });
  if (retrying === null) unusable.set(address, trouble);
  else retrying.loses(reached.smarthost, routed.lease.id, trouble);
  return { ...routed, smarthosts: [first, ...others] };
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

/** What becomes of a message that no smarthost is asked about. */
export async function failUnsent(
  at: Stations,
  lease: Lease,
  { outcome, next, started }: { outcome: SettledOutcome; next: Next; started: number },
): Promise<Forwarded> {
  const attempt = notSent(at.route(lease.envelope)[0], started);
  return await conclude(at, lease, { outcome, next, attempt });
}

export function notSent(smarthost: Smarthost, started: number): Attempt {
  return { smarthost, session: null, bytes: 0, started };
}
