/** How a listener's session hands a message to the relay. A port; `relay/` implements it. */
import type { Envelope } from "./envelope.ts";
import type { Peer } from "./events.ts";
import type { Reply } from "./reply.ts";

/** One session's desk: takes its messages one after the other. Disposed when the session is over. */
export interface Reception extends AsyncDisposable {
  /**
   * Resolves to the reply for the client; 2xx is only said when the message would survive a power
   * cut. Never throws for storage trouble (452, 451). Rejects with ClientGone when the content does.
   */
  receive(submission: Submission, signal: AbortSignal): Promise<Reply>;
}

export type OpenReception = (peer: Peer) => Reception;

export interface Submission {
  readonly envelope: Envelope;
  readonly content: IncomingContent;
  readonly peer: Peer;
  /** Who authenticated, or the trust keyword; "". */
  readonly account: string;
  /** "" when the session is not encrypted, else e.g. "TLSv1.3 TLS_AES_256_GCM_SHA384". */
  readonly tls: string;
}

export interface IncomingContent {
  /** The bytes to store, Received line first. Rejects with ClientGone when the client vanishes. Iterate once, to the end: what is yielded holds until the next is asked for. */
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** After the end of `chunks`: why the message cannot be accepted (552, 550 5.6.11, 554 5.4.6), or null. */
  refusal(): Reply | null;
}

/** The client went away, or the daemon is stopping, in the middle of a message. Nobody waits for a reply. */
export class ClientGone extends Error {
  override name = "ClientGone";
}
