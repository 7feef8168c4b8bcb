/** The mail that tells a sender, or root, that a message could not be delivered. nodemailer makes the MIME. */
import { Readable } from "node:stream";
import MimeNode from "nodemailer/lib/mime-node";
import type { Envelope } from "../core/envelope.ts";
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
  const { original } = facts;
  const notice = new MimeNode("multipart/mixed", {
    disableFileAccess: true,
    disableUrlAccess: true,
    hostname: facts.host,
  });
  notice.setHeader({
    // As an object: as a text "a,b@c" would be two addresses.
    ...(isBare(facts.to) ? {} : { To: { address: facts.to } }),
    ...(isBare(facts.from) ? {} : { From: headerText(facts.from) }),
    Subject: "Your e-mail could not be delivered",
    Date: new Date(facts.now),
    "Auto-Submitted": "auto-replied",
  });
  notice.createChild("text/plain; charset=utf-8").setContent(noticeText(facts));
  if (original !== null) {
    const embedded = notice.createChild("message/rfc822");
    const eightBit = original.bytes.some((byte) => byte > 0x7f);
    embedded.setHeader("Content-Transfer-Encoding", eightBit ? "8bit" : "7bit");
    embedded.setHeader("Content-Disposition", "inline");
    embedded.setContent(original.bytes);
  }
  return Readable.from(after(bareLines(facts), notice.createReadStream()));
}

/** "root", "postmaster": local accounts, which the library would put into angle brackets or drop. */
function isBare(address: string): boolean {
  return /^[\w.-]+$/.test(address);
}

function bareLines({ from, to }: NoticeFacts): string {
  const fromLine = isBare(from) ? `From: ${from}\r\n` : "";
  return isBare(to) ? `${fromLine}To: ${to}\r\n` : fromLine;
}

async function* after(first: string, rest: Readable): AsyncGenerator<Uint8Array> {
  yield Buffer.from(first);
  yield* rest;
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
  return `${lines.map(headerText).join("\r\n")}\r\n`;
}

/** One line for each attempt that failed, oldest first. */
function reasons({ trailer }: Envelope): string[] {
  const prefix = "X-MailRelay-Reason:";
  const lines = trailer
    .filter((line) => line.startsWith(prefix))
    .map((line) => `Reason: ${line.slice(prefix.length).trim()}`);
  return lines.length > 0 ? lines : ["Reason: unknown"];
}

/** On one line, whatever the message says: nothing of it can become a header of the notice. */
function headerText(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ").trim();
}
