/** One forwarding run: every message that waits, one after the other, over connections that are kept. */
import { describeError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Lease } from "../core/store.ts";
import type { Transport, Trouble } from "../core/transport.ts";
import { type Forwarded, forward, type Stations } from "./journey.ts";

/** How a run ended. */
export interface RunResult {
  /** Messages that were taken in hand. */
  readonly tried: number;
  /** What ended it early, or went wrong last; null when nothing did. */
  readonly error: string | null;
}

/** Connections lost in a row before a run gives up: one message that kills its session holds up no others. */
const MAX_LOST = 3;

interface Progress {
  tried: number;
  lost: number;
  error: string | null;
  ended: boolean;
  /** Routed addresses that cannot be reached in this run. */
  readonly unreachable: Set<string>;
}

/** Ends early when the signal is aborted, after the message in hand if it allows that. */
export async function run(
  at: Stations,
  openTransport: () => Promise<Transport>,
  stop: { readonly soon: AbortSignal; readonly now: AbortSignal },
): Promise<RunResult> {
  const ids = await at.store.ready();
  const progress: Progress = {
    tried: 0,
    lost: 0,
    error: null,
    ended: false,
    unreachable: new Set(),
  };
  if (ids.length > 0) {
    await using transport = await openTransport();
    for (const id of ids) {
      if (progress.ended || stop.soon.aborted) break;
      await forwardOne(at, id, { transport, progress, signal: stop.now });
    }
    if (!stop.now.aborted) await transport.quit();
  }
  return { tried: progress.tried, error: progress.error };
}

async function forwardOne(
  at: Stations,
  id: MessageId,
  hand: { transport: Transport; progress: Progress; signal: AbortSignal },
): Promise<void> {
  const { transport, progress, signal } = hand;
  await using lease = await at.store.lease(id);
  if (lease === null || progress.unreachable.has(addressOf(lease))) return;
  progress.tried += 1;
  try {
    const forwarded = await forward(at, lease, transport, signal);
    if (forwarded.next === "stop") progress.ended = true;
    judge(at, lease, forwarded, progress);
  } catch (error) {
    if (signal.aborted) return;
    // Storage trouble on one message, or a fault of ours: it stays queued, the others go on.
    progress.error = describeError(error);
    const text = `cannot forward ${id}: ${progress.error}`;
    at.journal.tell({ kind: "note", level: "error", detail: false, text });
  }
}

function judge(at: Stations, lease: Lease, forwarded: Forwarded, progress: Progress): void {
  const { outcome } = forwarded;
  const trouble = outcome.kind === "failed" || outcome.kind === "queued" ? outcome.trouble : null;
  if (trouble === null) {
    progress.lost = 0;
    return;
  }
  progress.error = trouble.why;
  const routed = addressOf(lease);
  at.journal.tell({ kind: "smarthost.failed", address: routed, why: trouble.why });
  if (routed !== "" && !trouble.connected) {
    progress.unreachable.add(routed);
    return;
  }
  progress.lost += 1;
  progress.ended ||= endsRun(trouble) || progress.lost >= MAX_LOST;
}

/** The smarthost cannot be reached or will not have us at all: asking again at once is no use. */
function endsRun(trouble: Trouble): boolean {
  return !trouble.connected || trouble.kind !== "connection";
}

/** "" for the default smarthost. */
function addressOf(lease: Lease): string {
  return lease.envelope.forwardToAddress;
}
