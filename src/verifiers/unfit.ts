/** What cannot be a mailbox or an address in an envelope, whatever a verifier says. Pure. */

/** Why not; null when it can be. What is not UTF-8 has become U+FFFD by now, and two names one. */
export function unfit(name: string): string | null {
  if (/\p{Cc}/u.test(name)) return "control character in the answer";
  return name.includes("\ufffd") ? "the answer is not UTF-8" : null;
}
