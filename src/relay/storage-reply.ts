/** What a client is told when a message cannot be stored: always temporary, never a path. */
import type { RelayError } from "../core/errors.ts";
import type { Reply } from "../core/reply.ts";

/** RFC 3463: X.3.1 mail system full, X.3.0 other mail system status. */
export function storageReply(error: RelayError): Reply {
  // A filter took the files and did not say so: the words are E-MailRelay's (R9).
  if (error.code === "CONTENT_MISSING") return { code: 452, text: "rejected" };
  return error.code === "SPOOL_FULL"
    ? { code: 452, text: "4.3.1 insufficient system storage" }
    : { code: 451, text: "4.3.0 local storage error" };
}
