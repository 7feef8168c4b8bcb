/** When a message came: what --expire and the warnings of delay count from. */
import { RelayError } from "../core/errors.ts";
import { arrivalOf, retryStateOf } from "../core/retry-state.ts";
import type { Lease } from "../core/store.ts";

/**
 * Seconds since 1970: by its name; under another name by what its envelope has noted, or else by the
 * change time of its content. Of all times of its files that is the one that nothing makes older: content
 * may have been written long before it was put into the spool, and envelopes are rewritten. null when
 * nobody knows.
 */
export async function arrivedAt(lease: Lease): Promise<number | null> {
  const named = arrivalOf(lease.id);
  if (named !== null) return named;
  const { arrived } = retryStateOf(lease.envelope);
  return arrived > 0 ? arrived : await changedAt(lease);
}

/** What the envelope is to note of it: 0 where the name tells. */
export async function arrivalToNote(lease: Lease): Promise<number> {
  return arrivalOf(lease.id) === null ? ((await arrivedAt(lease)) ?? 0) : 0;
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
