/** Delivery reports to the sender of a message (RFC 3464). A port; `instance/` implements it over `compose/` and the store. */
import type { Envelope } from "./envelope.ts";
import type { Reply } from "./reply.ts";
import type { Content } from "./store.ts";

export interface Reporter {
  /**
   * Puts a report into the queue, as mail with the null sender; resolves when it would survive a
   * power cut. Does nothing for a null sender, and for recipients who asked for none (RFC 3461).
   * Nor for a message that is a report itself. Throws SPOOL_FULL or SPOOL_IO, and then nothing was queued.
   * True if the sender hears of it that way, or wants to hear nothing.
   */
  report(report: Report): Promise<boolean>;
}

export interface Report {
  /** relayed: handed on to a smarthost that will not report success; for those who asked for that. */
  readonly action: "failed" | "delayed" | "relayed";
  readonly envelope: Envelope;
  /** Opens the content of the message; null when it is gone. */
  readonly content: () => Promise<Content | null>;
  readonly recipients: readonly RecipientReport[];
  /** Seconds since 1970: when the message came. */
  readonly arrived: number;
  /** Seconds since 1970: until when it is tried, for delays; null when it is not tried any more. */
  readonly retriedUntil: number | null;
}

export interface RecipientReport {
  readonly recipient: string;
  /** What the smarthost said; null when it said nothing. */
  readonly reply: Reply | null;
  /** What that answered, where it is known; "content" is the end of the data. */
  readonly step?: "mail" | "rcpt" | "data" | "content";
  /** One line for people: "4.4.7 delivery time expired", "smtp error: ...". */
  readonly why: string;
  /** Enhanced status code of RFC 3463, "5.1.1", "4.4.7". */
  readonly status: string;
  /** The smarthost as configured; "" when none was asked. */
  readonly smarthost: string;
  /** Seconds since 1970. */
  readonly lastAttempt: number;
}
