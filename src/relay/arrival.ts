/** When a message came: what --expire and the warnings of delay count from. */
import { RelayError } from "../core/errors.ts";
import { arrivalOf, retryStateOf, wasSetAside } from "../core/retry-state.ts";
import type { Lease } from "../core/store.ts";

/**
 * Seconds since 1970: by its name; under another name by what its envelope has noted, or else by the
 * change time of its content. Of all times of its files that is the one that nothing makes older: content
 * may have been written long before it was put into the spool, and envelopes are rewritten. null when
 * nobody knows.
 */
export async function arrivedAt(lease: Lease): Promise<number | null> {
  return arrivalOf(lease.id) ?? notedIn(lease) ?? (await changedAt(lease));
}

/** Seconds since 1970: what its age counts from. What had failed and was put back in the queue is as good as new. */
export async function agedFrom(lease: Lease, nowMs: number): Promise<number | null> {
  const noted = notedIn(lease);
  if (noted !== null) return noted;
  return wasSetAside(lease.envelope) ? Math.floor(nowMs / 1000) : await arrivedAt(lease);
}

/** What the envelope is to note of that: 0 where the name tells. */
export async function ageToNote(lease: Lease, nowMs: number): Promise<number> {
  const from = await agedFrom(lease, nowMs);
  return from === null || from === arrivalOf(lease.id) ? 0 : from;
}

function notedIn({ envelope }: Lease): number | null {
  const { arrived } = retryStateOf(envelope);
  return arrived > 0 ? arrived : null;
}

async function changedAt(lease: Lease): Promise<number | null> {
  try {
    await using content = await lease.content();
    return content.changedMs === undefined ? null : Math.floor(content.changedMs / 1000);
  } catch (error) {
    // What is wrong with the content is told when it is to be sent.
    if (error instanceof RelayError) return null;
    throw error;
  }
}
