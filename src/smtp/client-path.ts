/** Which addresses can be sent: what stands between "<" and ">" must end there for whoever reads the command. Pure. */
import type { RejectedRecipient } from "../core/transport.ts";

/**
 * Can stand between "<" and ">", with parameters after it, whoever wrote the envelope file: nothing in
 * it ends the path or the line, carries the path on into the parameters, or is one. Hosts read
 * what is no proper address in ways of their own: some end the path at the first ">", some count "<" and
 * ">" (Postfix), comments (sendmail), quotes and backslashes anywhere, some end it at a blank.
 * What is the same to all of them is theirs to judge.
 */
export function fitsPath(address: string): boolean {
  if (/^[\w.+@-]*$/.test(address)) return true;
  if (/[\p{Cc}\u2028\u2029]|^\s|\s$/u.test(address)) return false;
  const rest = address.replace(QUOTED, "");
  return BALANCED.test(rest) && !PARAMETER.test(rest);
}

/** A proper quoted local part; what is in it is known to all. */
const QUOTED = /^"(?:[^"\\]|\\.)*"(?=@|$)/u;
/** No more open at the end than at the start. "<" never, and ">" neither, not even after a backslash or in quotes. */
const BALANCED = /^(?:[^"(<>\\]|\\[^"()<>\\]|"[^"()<>\\]*"|\([^"()<>\\]*\))*$/u;
/** "SIZE=1" or "SMTPUTF8" after a blank; the last word goes on with ">". */
const PARAMETER = /\s[a-z\d][a-z\d-]*[=\s]/i;

/** True for a recipient who can be named in a command. */
export function isNamable(recipient: string): boolean {
  return recipient !== "" && fitsPath(recipient);
}

/** Those who can be named in a command, each once. */
export function namable(recipients: readonly string[]): string[] {
  return [...new Set(recipients)].filter(isNamable);
}

/** The others, as refused; the words are ours. */
export function unnamable(recipients: readonly string[]): RejectedRecipient[] {
  const others = new Set(recipients.filter((one) => !isNamable(one)));
  const reply = { code: 0, text: "5.1.3 cannot send to an invalid address" };
  return [...others].map((recipient) => ({ recipient, reply }));
}
