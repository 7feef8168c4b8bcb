/** What the server says, and what the session has to do after saying it. */
import type { SaslVerdict } from "../core/auth.ts";
import type { Reply } from "../core/reply.ts";
import type { RecipientQuery } from "../core/verifier.ts";

/** One step of the dialogue, as the protocol asks it of the session. Replies are without the final CRLF. */
export type ServerStep =
  | { readonly kind: "reply"; readonly reply: string }
  /** Says it only after so many milliseconds, and listens to nothing meanwhile. */
  | { readonly kind: "late reply"; readonly reply: string; readonly delayMs: number }
  /** Says it, if there is anything to say, and ends the session. */
  | { readonly kind: "close"; readonly reply: string; readonly why: string }
  /** Says it to a client that has nothing more to say, and ends the session. */
  | { readonly kind: "quit"; readonly reply: string }
  /** Asks the verifier; its answer goes to `verified()`. */
  | { readonly kind: "verify"; readonly query: RecipientQuery }
  /** Waits for it; it goes to `judged()`. */
  | { readonly kind: "judge"; readonly verdict: Promise<SaslVerdict> }
  /** Says it; then the content follows. */
  | { readonly kind: "data"; readonly reply: string }
  /** So many octets of content follow. */
  | { readonly kind: "chunk"; readonly size: number; readonly last: boolean }
  /** So many octets follow that nobody wants; then this step. */
  | { readonly kind: "skip"; readonly size: number; readonly next: ServerStep }
  /** Says it; then the TLS handshake follows. */
  | { readonly kind: "start tls"; readonly reply: string };

export const OUT_OF_SEQUENCE = "503 command out of sequence -- use RSET to resynchronise";
export const BINARY_DATA = "503 invalid data command with binarymime -- use RSET to resynchronise";
export const UNKNOWN_COMMAND = "500 command unrecognized";
export const LINE_TOO_LONG = "500 line too long";
export const NOT_IMPLEMENTED = "502 command not implemented";
export const BAD_ARGUMENT = "501 invalid argument";
export const MISSING_PARAMETER = "501 parameter required";
export const NOT_AVAILABLE = "421 service not available";
export const TOO_BIG_TEXT = "message size exceeds fixed maximum message size";
export const TOO_BIG = `552 ${TOO_BIG_TEXT}`;
export const NO_ROOM = "452 4.3.1 insufficient system storage";
export const NO_RECIPIENTS = "554 no valid recipients";
export const START_INPUT = "354 start mail input -- end with <CRLF>.<CRLF>";

export function reply(text: string): ServerStep {
  return { kind: "reply", reply: text };
}

/** A reply of several lines: "250-one", "250 two". Whatever the text holds, it stays within its lines. */
export function replyText({ code, text }: Reply): string {
  const clean = CONTROLS.test(text) ? text.replace(/[^\P{Cc}\n\t]/gu, " ") : text;
  if (!clean.includes("\n")) return `${code} ${clean}`;
  const lines = clean.split("\n");
  return lines.map((line, i) => `${code}${i < lines.length - 1 ? "-" : " "}${line}`).join("\r\n");
}

const CONTROLS = /\p{Cc}/u;
