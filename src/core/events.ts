/** Everything an operator may want to know, said once. Log, syslog and JSON listen. */
import type { MessageId } from "./message-id.ts";
import type { Reply } from "./reply.ts";

export type RelayEvent =
  // What the process does.
  | { readonly kind: "listener.opened"; readonly server: ServerKind; readonly address: string }
  /** Who may log in is read from there. */
  | { readonly kind: "secrets.configured"; readonly server: ServerKind; readonly path: string }
  | { readonly kind: "forward.configured"; readonly address: string }
  | { readonly kind: "secrets.reread"; readonly path: string }
  | { readonly kind: "spool.recovered"; readonly id: string; readonly action: string }
  /** What has no kind of its own: one line. `detail` lines are for --verbose. */
  | {
      readonly kind: "note";
      readonly level: Level;
      readonly detail: boolean;
      readonly text: string;
    }
  // Sessions of clients.
  | {
      readonly kind: "session.opened";
      readonly server: ServerKind;
      /** The same object when the session is closed. */
      readonly peer: Peer;
      /** Our end, "address:port". A question to the system: for those who show it, and only while the session is open. */
      readonly local: () => string;
    }
  | {
      readonly kind: "session.refused";
      readonly server: ServerKind;
      readonly peer: Peer;
      readonly why: string;
    }
  | {
      readonly kind: "session.closed";
      readonly server: ServerKind;
      readonly peer: Peer;
      readonly why: string;
    }
  | {
      readonly kind: "auth.accepted";
      readonly peer: Peer;
      readonly id: string;
      readonly detail: string;
    }
  | {
      readonly kind: "auth.refused";
      readonly peer: Peer;
      readonly id: string;
      readonly detail: string;
    }
  | {
      readonly kind: "client.trusted";
      readonly peer: Peer;
      readonly pattern: string;
      readonly line: number;
    }
  /** A session was ended for what the client did. */
  | { readonly kind: "client.misbehaved"; readonly peer: Peer; readonly reason: string }
  | {
      readonly kind: "recipient.refused";
      readonly peer: Peer;
      readonly recipient: string;
      readonly reply: Reply;
      readonly why: string;
    }
  // Both directions.
  | {
      readonly kind: "tls.established";
      readonly peer: Peer;
      readonly protocol: string;
      readonly cipher: string;
    }
  | { readonly kind: "tls.failed"; readonly peer: Peer; readonly why: string }
  /** Protocol lines as sent (tx) or received (rx), secrets and content already masked. Only told when `detail` is on. */
  | {
      readonly kind: "traffic";
      readonly direction: "rx" | "tx";
      readonly peer: Peer;
      readonly text: string;
    }
  // A message's way in.
  | { readonly kind: "content.created"; readonly id: MessageId; readonly peer: Peer }
  | { readonly kind: "envelope.created"; readonly id: MessageId; readonly peer: Peer }
  | {
      readonly kind: "message.accepted";
      readonly id: MessageId;
      readonly peer: Peer;
      readonly from: string;
      readonly to: readonly string[];
      readonly bytes: number;
      readonly account: string;
      readonly tls: string;
      readonly ms: number;
    }
  | {
      readonly kind: "message.rejected";
      readonly id: MessageId;
      readonly peer: Peer;
      readonly from: string;
      readonly reply: Reply;
      readonly why: string;
    }
  | { readonly kind: "message.abandoned"; readonly id: MessageId }
  // A message's way out.
  | { readonly kind: "forward.requested"; readonly reason: string }
  | {
      readonly kind: "forward.busy";
      readonly reason: string;
      readonly queued: boolean;
      readonly connectedTo: string;
    }
  | { readonly kind: "forward.idle"; readonly tried: number; readonly error: string }
  | {
      readonly kind: "forward.message";
      readonly id: MessageId;
      readonly selector: string;
      readonly forwardTo: string;
      readonly forwardToAddress: string;
    }
  /** A filter kept the message out of this run. */
  | { readonly kind: "forward.abandoned"; readonly id: MessageId }
  /** Taken in hand, and put back before it came to an attempt. */
  | { readonly kind: "forward.skipped"; readonly id: MessageId; readonly why: string }
  | { readonly kind: "smarthost.resolving"; readonly address: string }
  | { readonly kind: "smarthost.connecting"; readonly address: string }
  /** `peer`: the same object when it is disconnected. */
  | { readonly kind: "smarthost.connected"; readonly peer: Peer; readonly local: string }
  | { readonly kind: "smarthost.disconnected"; readonly peer: Peer; readonly local: string }
  | {
      readonly kind: "smarthost.authenticated";
      readonly peer: Peer;
      readonly tls: boolean;
      readonly detail: string;
    }
  | { readonly kind: "smarthost.failed"; readonly address: string; readonly why: string }
  /** Left alone for so long: the trouble is the site's own, and mail waits. */
  | {
      readonly kind: "smarthost.paused";
      readonly address: string;
      /** The one that may not log in there; "" for the default account, and for all. */
      readonly account: string;
      readonly why: string;
      readonly seconds: number;
    }
  | { readonly kind: "smarthost.resumed"; readonly address: string; readonly account: string }
  | { readonly kind: "message.delivered"; readonly id: MessageId; readonly delivery: Delivery }
  | { readonly kind: "message.failed"; readonly id: MessageId; readonly delivery: Delivery }
  /** To be tried again for these recipients; `unknown` when nobody knows whether the smarthost took it this time. */
  | {
      readonly kind: "message.deferred";
      readonly id: MessageId;
      readonly delivery: Delivery;
      readonly retrySeconds: number;
      readonly unknown: boolean;
    }
  /** Back in the queue; nothing was lost. */
  | { readonly kind: "message.queued"; readonly id: MessageId; readonly delivery: Delivery };

export type ServerKind = "smtp" | "pop" | "admin";
export type Level = "info" | "warning" | "error";

/** The far end of a connection. */
export interface Peer {
  /** IP address; of a unix socket the path that we have connected to, "/" for a client's. */
  readonly address: string;
  /** 0 for a unix socket. */
  readonly port: number;
}

/** One finished attempt: what an operator greps for. */
export interface Delivery {
  readonly from: string;
  readonly to: readonly string[];
  /** Content size in bytes. */
  readonly bytes: number;
  /** As configured ("mail.example.net:587"). */
  readonly smarthost: string;
  /** The far end as connected; "" if not connected. */
  readonly peer: string;
  /** "" when not encrypted. */
  readonly tls: string;
  /** The account we authenticated as; "" when we did not. */
  readonly account: string;
  /** SMTP code; 0 when none was said. */
  readonly code: number;
  /** The smarthost's text, or what went wrong. */
  readonly text: string;
  /** Milliseconds from lease to outcome. */
  readonly ms: number;
}

/** Where rooms tell what happened. */
export interface Journal {
  tell(event: RelayEvent): void;
  /** True if --verbose asks for protocol traffic: do not build `traffic` events otherwise. */
  readonly detail: boolean;
}

/** A journal that forgets. */
export const silentJournal: Journal = { tell: () => undefined, detail: false };
