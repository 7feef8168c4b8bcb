/** Transport: hands messages to a smarthost. A port; `smtp/` implements it. */
import type { Envelope } from "./envelope.ts";
import type { Reply } from "./reply.ts";
import type { Content } from "./store.ts";

/** Where to hand a message on to. Two equal ones share a connection. */
export interface Smarthost {
  /** As configured: "host:port", "/path", or "far:port@socks:port". */
  readonly address: string;
  /** Selects a line of the client secrets file; "" for the default account. */
  readonly account: string;
}

/** One connection at a time to one smarthost at a time, kept for the next message. */
export interface Transport extends AsyncDisposable {
  /**
   * Gets a session with this smarthost ready for MAIL: connect, greeting, EHLO, TLS, AUTH. Keeps the
   * present one if it is to the same smarthost and still alive. null when ready.
   */
  prepare(to: Smarthost, signal: AbortSignal): Promise<Trouble | null>;
  /**
   * Sends one message on the session that `prepare` made. Where `overlaps` is true more may be
   * handed over meanwhile, with the same signal; null for one that was withdrawn.
   */
  send(envelope: Envelope, content: Content, signal: AbortSignal): Promise<Receipt | null>;
  /** True while more than one message may be handed over: the next is sent together with the end of the one before it. */
  readonly overlaps: boolean;
  /** Gives back the messages that wait behind another one; the smarthost has taken no notice of them. */
  withdraw(): void;
  /** What the session is, for the log; null when there is none. */
  readonly session: TransportSession | null;
  /** Says QUIT and closes; never fails. */
  quit(): Promise<void>;
}

export interface TransportSession {
  /** "address:port" of the far end as connected. */
  readonly peer: string;
  /** "" when not encrypted, else e.g. "TLSv1.3 TLS_AES_256_GCM_SHA384". */
  readonly tls: string;
  /** The id we authenticated as; "" when we did not. */
  readonly account: string;
  /** The smarthost offers DSN (RFC 3461): who wants to hear of success hears it from there. */
  readonly dsn: boolean;
}

/** Why a session could not be made ready, or ended. */
export interface Trouble {
  /**
   * connection: not connected, lost, timed out, 421, no or a bad greeting: says nothing about the message.
   * tls, authentication: the site's own trouble.
   */
  readonly kind: "connection" | "tls" | "authentication";
  /** True if a TCP or unix connection had been made. */
  readonly connected: boolean;
  /** One line for the operator, and for the Reason line. */
  readonly why: string;
  /** The smarthost's refusal, if it said one. */
  readonly reply: Reply | null;
}

/** What became of one message. */
export type Receipt =
  /** The smarthost took it for all recipients but the rejected. */
  | {
      readonly kind: "accepted";
      readonly reply: Reply;
      readonly rejected: readonly RejectedRecipient[];
    }
  /** The smarthost refused it; nothing was delivered. The session goes on unless `ended`. */
  | {
      readonly kind: "refused";
      readonly step: "mail" | "rcpt" | "data" | "content";
      readonly reply: Reply;
      readonly rejected: readonly RejectedRecipient[];
      readonly ended: boolean;
    }
  /** The message cannot be sent to this smarthost (strictness rules); nothing was said. */
  | { readonly kind: "unsendable"; readonly why: string }
  /** The session ended without an answer. `unknown` is true if our final dot may have left before. */
  | {
      readonly kind: "lost";
      readonly trouble: Trouble;
      readonly unknown: boolean;
      /** Recipients that had been refused by then; absent when there were none. */
      readonly rejected?: readonly RejectedRecipient[];
    };

export interface RejectedRecipient {
  readonly recipient: string;
  /** The smarthost's words; code 0 for ours, who cannot be named to any: that is for good. */
  readonly reply: Reply;
}
