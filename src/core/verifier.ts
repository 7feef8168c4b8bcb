/** Address verifiers: judge one recipient. A port. */
import type { Reply } from "./reply.ts";

export interface Verifier {
  verify(query: RecipientQuery, signal: AbortSignal): Promise<Verification>;
}

export interface RecipientQuery {
  /** The address with its domain as A-labels. */
  readonly recipient: string;
  /** "" for VRFY and for the null sender. */
  readonly sender: string;
  /** "ip:port" of the client, "/" for a unix socket. */
  readonly client: string;
  readonly domain: string;
  /** SASL mechanism in lower case, "none" when not authenticated. */
  readonly mechanism: string;
  /** Authenticated id or trust keyword, or "". */
  readonly account: string;
}

export type Verification =
  | { readonly kind: "remote"; readonly address: string }
  | { readonly kind: "local"; readonly mailbox: string; readonly description: string }
  | { readonly kind: "refuse"; readonly reply: Reply; readonly reason: string }
  | { readonly kind: "abort" };

/** A verifier of one session, which disposes of it when it is over. */
export type SessionVerifier = Verifier & AsyncDisposable;

/** Accepts every recipient as remote. It keeps nothing, so one is enough for all sessions. */
export const acceptAll: SessionVerifier = {
  verify: async ({ recipient }) => ({ kind: "remote", address: recipient }),
  [Symbol.asyncDispose]: async () => undefined,
};
