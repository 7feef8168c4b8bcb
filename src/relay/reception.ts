/** The desk of one client session: receives its messages and, with --immediate, forwards each before the reply. */
import type { OpenReception, Reception } from "../core/intake.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Outcome } from "../core/outcome.ts";
import type { Reply } from "../core/reply.ts";
import type { Transport } from "../core/transport.ts";
import { type Forwarded, forward, receive, type Stations } from "./journey.ts";

export interface ReceptionOptions {
  readonly at: Stations;
  /** null: messages wait for a run. Otherwise each is sent on a connection that the session keeps. */
  readonly immediate: (() => Promise<Transport>) | null;
  /** Called when a session is over. */
  readonly onClosed: () => void;
}

export function receptionOpener(options: ReceptionOptions): OpenReception {
  return () => openReception(options);
}

function openReception(options: ReceptionOptions): Reception {
  let transport: Transport | null = null;
  return {
    async receive(submission, signal) {
      const { reply, id } = await receive(options.at, submission, signal);
      const remote = submission.envelope.toRemote.length > 0;
      if (id === null || options.immediate === null || !remote) return reply;
      transport ??= await options.immediate();
      return await forwardNow(options.at, { id, reply }, transport, signal);
    },
    async [Symbol.asyncDispose]() {
      options.onClosed();
      await transport?.quit();
      await transport?.[Symbol.asyncDispose]();
    },
  };
}

async function forwardNow(
  at: Stations,
  accepted: { id: MessageId; reply: Reply },
  transport: Transport,
  signal: AbortSignal,
): Promise<Reply> {
  const { id } = accepted;
  await using lease = await at.store.lease(id);
  // Somebody else's run was faster: the message is safe and on its way.
  if (lease === null) return accepted.reply;
  const { outcome } = await forward(at, lease, transport, signal);
  return replyTo(outcome, accepted.reply);
}

function replyTo(outcome: Forwarded["outcome"] | Outcome, accepted: Reply): Reply {
  switch (outcome.kind) {
    case "delivered":
    case "abandoned":
      return accepted;
    case "failed":
      return { code: outcome.reply.code, text: outcome.reply.text.replaceAll("\n", " ") };
    case "queued":
      return { code: 452, text: "forwarding failed" };
  }
}
