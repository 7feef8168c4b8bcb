/** Mail whose smarthost cannot be found out at the moment: tried again like any that has temporary trouble of its own. */
import type { Next } from "../core/filter.ts";
import { retryStateOf, withRetryState } from "../core/retry-state.ts";
import type { Lease } from "../core/store.ts";
import { ageToNote } from "./arrival.ts";
import { expire } from "./conclude-each.ts";
import { deliveryTo } from "./delivery.ts";
import type { Forwarded, Routed, Stations } from "./journey.ts";
import { notSent } from "./reach.ts";
import { type Ended, warnSender } from "./reporting.ts";
import type { Retrying } from "./retrying.ts";

interface Unrouted {
  /** The routing filter's words. */
  readonly why: string;
  readonly next: Next;
  /** Monotonic milliseconds. */
  readonly started: number;
  readonly hasWaited: boolean;
}

/** After its time it is set aside with those words. No smarthost was asked, and none is thought worse of. */
export async function unrouted(
  at: Stations,
  retrying: Retrying,
  lease: Lease,
  { why, next, started, hasWaited }: Unrouted,
): Promise<Forwarded> {
  // Filters before the one that could not say may have changed it.
  const envelope = await lease.reread();
  const ended: Ended = { next, attempt: notSent(at.route(envelope)[0], started) };
  const reply = { code: 0, text: why };
  // However old, it may have been asked about for the first time.
  if (hasWaited && (await retrying.isExpired(lease))) {
    const { outcome } = await expire(
      at,
      retrying,
      { lease, ended },
      { said: reply, trouble: null },
    );
    return { kind: "over", outcome, next };
  }
  const recipients = envelope.toRemote;
  const noted = { ...retryStateOf(envelope), arrived: await ageToNote(lease, at.clock.now()) };
  const warnAfter = at.reporter === null ? null : at.delayWarningSeconds;
  const after = await retrying.after(lease, noted, { unknown: false, warnAfter });
  await retrying.notes.write(lease, withRetryState(envelope, recipients, after.next));
  const now = at.clock.monotonic();
  at.journal.tell({
    kind: "message.deferred",
    id: lease.id,
    delivery: deliveryTo(envelope.from, recipients, ended.attempt, reply, now),
    retrySeconds: Math.round(after.ms / 1000),
    unknown: false,
  });
  const waiting = recipients.map((recipient) => ({ recipient, reply, step: null }));
  await warnSender(at, retrying, { lease, ended }, waiting);
  return { kind: "over", outcome: { kind: "deferred", trouble: null, reply }, next };
}

/** True when nothing is asked about its destination at the moment: then it is in the queue for later. */
export async function isPutOff(at: Stations, lease: Lease, hasWaited: boolean): Promise<boolean> {
  const { retrying } = at;
  const { envelope } = lease;
  const pause = retrying?.lookups.pauseOf(envelope.forwardTo) ?? null;
  if (retrying === null || pause === null || envelope.toRemote.length === 0) return false;
  if (retrying.notes.owes(lease.id)) await retrying.notes.catchUp(lease);
  const smarthosts = at.route(envelope);
  const started = at.clock.monotonic();
  const routed: Routed = { kind: "routed", lease, smarthosts, verdict: null, started, hasWaited };
  await retrying.wait(at, routed, { ...pause, ofAccount: false });
  return true;
}
