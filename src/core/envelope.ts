/** What the SMTP dialogue said about a message; everything but the content. */

export interface Envelope {
  /** BODY= of MAIL; "unknown" when absent (RFC 6152, RFC 3030). */
  readonly body: "7bit" | "8bit" | "binarymime" | "unknown";
  /** Reverse-path without angle brackets; "" is the null sender (RFC 5321 4.5.5). */
  readonly from: string;
  /** Mailbox names of local recipients, as the verifier gave them. */
  readonly toLocal: readonly string[];
  readonly toRemote: readonly string[];
  /** xtext of the authenticated id or of the trust keyword; "" when neither. */
  readonly authentication: string;
  /** Peer address without port; "/" for a unix socket. */
  readonly client: string;
  /** PEM of the client's TLS certificate with LF line ends; "" when none. */
  readonly clientCertificate: string;
  /** AUTH= of MAIL: xtext, "<>" or "" (RFC 4954 5). */
  readonly mailFromAuthIn: string;
  /** What to send as AUTH=: "" for the default policy, "<>" or xtext. */
  readonly mailFromAuthOut: string;
  /** Routing domain, xtext; only a trigger and input for filters. */
  readonly forwardTo: string;
  /** Transport address "host:port" for this message alone; "" for the default smarthost. */
  readonly forwardToAddress: string;
  /** Selects a line of the client secrets; "" for the default account. */
  readonly clientAccountSelector: string;
  /** True if any address has a non-ASCII mailbox part: forwarding wants SMTPUTF8 (RFC 6531). */
  readonly utf8Mailboxes: boolean;
  /** Lines after `End:` without line ends; reasons, and what others wrote there. Kept verbatim. */
  readonly trailer: readonly string[];
}

/** An envelope file that is larger is not read, and must not be written; most are a few hundred bytes. */
export const MAX_ENVELOPE_BYTES = 16 * 1024 * 1024;

/** An envelope with nothing said yet. */
export const emptyEnvelope: Envelope = {
  body: "unknown",
  from: "",
  toLocal: [],
  toRemote: [],
  authentication: "",
  client: "127.0.0.1",
  clientCertificate: "",
  mailFromAuthIn: "",
  mailFromAuthOut: "",
  forwardTo: "",
  forwardToAddress: "",
  clientAccountSelector: "",
  utf8Mailboxes: false,
  trailer: [],
};
