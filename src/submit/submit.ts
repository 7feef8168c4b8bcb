/** The story of one submission: bytes in, one or more durable messages in the spool out. */
import type { Clock } from "../core/clock.ts";
import { describeError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Draft, Store } from "../core/store.ts";
import { splitContent } from "./content.ts";
import { copyEnvelope } from "./copy-envelope.ts";
import { type PlannedMessage, planMessages } from "./plan.ts";
import type { SubmitRequest } from "./request.ts";

export interface SubmitStations {
  readonly store: Pick<Store, "create">;
  readonly clock: Pick<Clock, "now">;
  readonly pid: number;
}

/**
 * Resolves to their ids when every message would survive a power cut. Rejects when one could
 * not be kept; then no message is left, or the error says how many were in the queue already.
 * The body is never held in memory as a whole.
 */
export async function submit(
  request: SubmitRequest,
  source: AsyncIterable<Uint8Array>,
  { store, clock, pid }: SubmitStations,
): Promise<MessageId[]> {
  const { header, body } = await splitContent(source);
  const messages = planMessages(request, header, { now: clock.now(), pid });
  const drafts: Draft[] = [];
  try {
    for (const message of messages) {
      const draft = await store.create();
      drafts.push(draft);
      await draft.write(message.header);
    }
    for await (const chunk of body) {
      for (const draft of drafts) await draft.write(chunk);
    }
    return await finish(request, drafts, messages);
  } finally {
    for (const draft of drafts) await draft[Symbol.asyncDispose]();
  }
}

/** Seals all before it commits any: a full disk shows while everything can still be undone. */
async function finish(
  request: SubmitRequest,
  drafts: readonly Draft[],
  messages: readonly PlannedMessage[],
): Promise<MessageId[]> {
  for (const [index, draft] of drafts.entries()) {
    const message = messages[index];
    if (message === undefined) throw new RangeError("more drafts than messages");
    await draft.seal(message.envelope);
  }
  for (const [done, draft] of drafts.entries()) {
    try {
      await (request.copy ? commitCopies(draft) : draft.commit());
    } catch (error) {
      if (done === 0) throw error;
      const why = `${done} of ${drafts.length} messages submitted, then: ${describeError(error)}`;
      throw new Error(why, { cause: error });
    }
  }
  return drafts.map((draft) => draft.id);
}

/** The message itself stays in the queue unless every sub-directory has its envelope now. */
async function commitCopies(draft: Draft): Promise<void> {
  const { copied, failures } = await copyEnvelope(draft.files(), draft.id);
  if (copied > 0 && failures.length === 0) {
    await draft.commitIfLeft();
    return;
  }
  await draft.commit();
  if (failures.length > 0) throw new Error(`cannot copy envelope: ${failures.join(", ")}`);
}
