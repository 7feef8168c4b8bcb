/** One step of the dialogue, as the protocol asks it of the session. Texts are latin1, without the final CRLF. */
import type { SaslVerdict } from "../core/auth.ts";
import type { MailMessage } from "./maildrop.ts";

export type PopStep =
  | { readonly kind: "reply"; readonly text: string }
  /** A reply of many lines: these, none of which begins with a dot, and the dot that ends them. */
  | { readonly kind: "list"; readonly text: string; readonly lines: Iterable<string> }
  /** Says it only after so many milliseconds, and listens to nothing meanwhile. */
  | { readonly kind: "late reply"; readonly text: string; readonly delayMs: number }
  /** Says it, if there is anything to say, and ends the session. */
  | { readonly kind: "close"; readonly text: string; readonly why: string }
  /** Waits for it; it goes to `judged()`. */
  | { readonly kind: "judge"; readonly verdict: Promise<SaslVerdict> }
  /** Opens the account's maildrop; what is in it goes to `opened()`. */
  | { readonly kind: "log in"; readonly id: string }
  /** Sends the content, or its header and so many lines of its body. */
  | { readonly kind: "send"; readonly message: MailMessage; readonly bodyLines: number }
  /** Removes these for good; then `removed()`. */
  | { readonly kind: "remove"; readonly messages: readonly MailMessage[] }
  /** Says it; then the TLS handshake follows. */
  | { readonly kind: "start tls"; readonly text: string };

export const ERROR = "-ERR";
export const OK = "+OK";

export function reply(text: string): PopStep {
  return { kind: "reply", text };
}
