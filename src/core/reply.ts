/** SMTP replies, in either direction. */

/** One SMTP reply. Text that we make never carries local paths, addresses of filters, or secrets. */
export interface Reply {
  /** 200..599 (RFC 5321 4.2.1). */
  readonly code: number;
  /** The text without code, lines joined by LF. An RFC 3463 status, where there is one, is the start of it. */
  readonly text: string;
}

/** True for 4yz and 5yz: no other reply says that something was not done. */
export const isRefusal = (reply: Reply): boolean => reply.code >= 400;
