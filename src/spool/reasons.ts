/** Why a message was set aside, as the lines that follow `End:` in its envelope. */

/**
 * "X-MailRelay-Reason" and "X-MailRelay-ReasonCode", without line ends. `text` may have several
 * lines; a `code` of 0 is written as nothing at all. Source: emailrelay reference, "Envelope file".
 */
export function reasonLines(text: string, code: number): readonly [string, string] {
  return [
    `X-MailRelay-Reason: ${escapeReason(text)}`.trimEnd(),
    code === 0 ? "X-MailRelay-ReasonCode:" : `X-MailRelay-ReasonCode: ${code}`,
  ];
}

const SHORT: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

/** Printable ASCII stays; every other byte is escaped, so one reason is always one line. */
function escapeReason(text: string): string {
  return text.replace(/[^ -[\]-~]/gu, (char) => SHORT[char] ?? escapeBytes(char));
}

function escapeBytes(char: string): string {
  const hex = Buffer.from(char, "utf8").toString("hex");
  return hex.replace(/../g, (byte) => `\\x${byte}`);
}
