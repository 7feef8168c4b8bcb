/** The mail that tells a sender, or root, that a message could not be delivered, as E-MailRelay's script words it. */
import { Readable } from "node:stream";
import type { Envelope } from "../core/envelope.ts";
import { oneLine, type Part, writeMail } from "./mail.ts";
import type { Original } from "./original.ts";

export interface NoticeFacts {
  /** Of the message that failed: `.bad`, with its Reason lines. */
  readonly envelope: Envelope;
  /** null when its content is gone. */
  readonly original: Original | null;
  /** An address, "postmaster", or "Mail system <postmaster@x.y>". */
  readonly from: string;
  /** One address: see noticeRecipient(). */
  readonly to: string;
  /** Right side of the Message-ID when `from` has no domain. */
  readonly host: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Whom to tell: the sender, or root when there is none to tell (RFC 5321 6.1: never answer the null sender). */
export function noticeRecipient(envelope: Envelope): string {
  return envelope.from === "" ? "root" : envelope.from;
}

/** The whole notice with CRLF line ends. The original is in it byte for byte. */
export function composeNotice(facts: NoticeFacts): Readable {
  const { original, from, to, host, now } = facts;
  const text: Part = { kind: "text", text: noticeText(facts) };
  return Readable.from(
    writeMail({
      type: "mixed",
      from,
      to,
      subject: "Your e-mail could not be delivered",
      fields: { "Auto-Submitted": "auto-replied" },
      now,
      host,
      parts: original === null ? [text] : [text, attached(original)],
    }),
  );
}

function attached({ bytes }: Original): Part {
  const encoding = bytes.some((byte) => byte > 0x7f) ? "8bit" : "7bit";
  return { kind: "bytes", type: "message/rfc822", encoding, bytes };
}

function noticeText({ envelope, original }: NoticeFacts): string {
  const lines = ["Your e-mail could not be delivered.", ""];
  if (original !== null) lines.push(`To: ${original.to}`, `Subject: ${original.subject}`, "");
  for (const recipient of [...envelope.toLocal, ...envelope.toRemote]) {
    lines.push(`Recipient: ${recipient}`);
  }
  lines.push(...reasons(envelope), "");
  if (original === null) lines.push("The text of the message is no longer there.");
  else if (original.shortened) {
    lines.push(`The message is too large (${original.size} bytes): only its header is attached.`);
  } else lines.push("The message is attached.");
  return `${lines.map(oneLine).join("\r\n")}\r\n`;
}

/** One line for each attempt that failed, oldest first. */
function reasons({ trailer }: Envelope): string[] {
  const prefix = "X-MailRelay-Reason:";
  const lines = trailer
    .filter((line) => line.startsWith(prefix))
    .map((line) => `Reason: ${line.slice(prefix.length).trim()}`);
  return lines.length > 0 ? lines : ["Reason: unknown"];
}
