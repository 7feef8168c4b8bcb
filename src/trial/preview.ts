/** What a person wants to see of a message at a glance. For people only: no mail is decided by it. */
import { simpleParser } from "mailparser";

/** Reads the subject out of the first bytes of a message; null when there is none to be found.
 *  Only the header block is parsed, so a body can be neither slow nor harmful. Never throws. */
export async function previewSubject(start: Buffer): Promise<string | null> {
  try {
    const mail = await simpleParser(headerBlock(start), {
      skipHtmlToText: true,
      skipTextToHtml: true,
      skipImageLinks: true,
    });
    return mail.subject ?? null;
  } catch {
    // Broken mail is still mail: it was kept, only its subject stays unknown.
    return null;
  }
}

/** Makes text from a message safe for one line of a terminal: no control or direction characters. */
export function oneLine(text: string, longest: number): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ").trim();
  const letters = [...plain];
  return letters.length <= longest ? plain : `${letters.slice(0, longest).join("")}...`;
}

function headerBlock(start: Buffer): Buffer {
  const crlf = start.indexOf("\r\n\r\n");
  const lf = start.indexOf("\n\n");
  if (crlf < 0 && lf < 0) return start;
  if (crlf < 0) return start.subarray(0, lf + 2);
  return start.subarray(0, lf < 0 || crlf < lf ? crlf + 4 : lf + 2);
}
