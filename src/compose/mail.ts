/** Writes a mail of several parts. nodemailer makes the MIME: names and addresses in headers, text that is not ASCII. */
import type { Readable } from "node:stream";
import MimeNode from "nodemailer/lib/mime-node";

export interface Mail {
  readonly type: "mixed" | "report; report-type=delivery-status";
  /** "root" or "Mail system <postmaster@x.y>"; of several lines only one is made. */
  readonly from: string;
  /** One address. */
  readonly to: string;
  readonly subject: string;
  /** More header fields. */
  readonly fields: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Right side of the Message-ID. */
  readonly host: string;
  /** Found nowhere in the parts; chosen at random when not given. */
  readonly token?: string;
  readonly parts: readonly Part[];
}

/** An address that no line can hold is left out. Characters. */
const LONGEST = 300;

export type Part =
  /** For people; lines with CRLF. */
  | { readonly kind: "text"; readonly text: string }
  /** Goes as it is, so it must have CRLF line ends, or in base64. */
  | {
      readonly kind: "bytes";
      readonly type: string;
      readonly encoding: "7bit" | "8bit" | "base64";
      readonly bytes: Buffer;
    };

/** The whole mail with CRLF line ends. */
export async function* writeMail(mail: Mail): AsyncGenerator<Uint8Array> {
  const { from, to, token } = mail;
  const root = new MimeNode(`multipart/${mail.type}`, {
    disableFileAccess: true,
    disableUrlAccess: true,
    hostname: mail.host,
    ...(token === undefined ? {} : { baseBoundary: token }),
  });
  root.setHeader({
    // As an object: as a text "a,b@c" would be two addresses.
    ...(isBare(to) || to.length > LONGEST ? {} : { To: { address: to } }),
    ...(isBare(from) ? {} : { From: oneLine(from) }),
    Subject: mail.subject,
    Date: new Date(mail.now),
    ...(token === undefined ? {} : { "Message-ID": `<${token}@${mail.host}>` }),
    ...mail.fields,
  });
  // A whole is labelled as its worst part (RFC 2045 6.4).
  const eightBit = mail.parts.some((part) => part.kind === "bytes" && part.encoding === "8bit");
  if (eightBit) root.setHeader("Content-Transfer-Encoding", "8bit");
  for (const part of mail.parts) addPart(root, part);
  const bare = bareLine("From", from) + bareLine("To", to);
  if (bare !== "") yield Buffer.from(bare);
  const whole: Readable = root.createReadStream();
  yield* whole;
}

function addPart(root: MimeNode, part: Part): void {
  if (part.kind === "text") {
    root.createChild("text/plain; charset=utf-8").setContent(part.text);
    return;
  }
  const { type, encoding, bytes } = part;
  if (encoding === "base64") {
    root.createChild(type).setHeader("Content-Transfer-Encoding", encoding).setContent(bytes);
    return;
  }
  // Raw: the library would encode what it takes for text, and long lines.
  const head = `Content-Type: ${type}\r\nContent-Transfer-Encoding: ${encoding}\r\nContent-Disposition: inline\r\n\r\n`;
  root.createChild().setRaw(Buffer.concat([Buffer.from(head), bytes]));
}

function bareLine(name: string, address: string): string {
  return isBare(address) ? `${name}: ${address}\r\n` : "";
}

/** "root", "postmaster": local accounts, which the library would put into angle brackets or drop. */
function isBare(address: string): boolean {
  return /^[\w.-]+$/.test(address);
}

/** On one line, whatever it says: nothing of it can become a header or a field. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ").trimEnd();
}

/** "Sat, 21 Nov 2026 02:04:04 +0000", from seconds since 1970. */
export function mailDate(seconds: number): string {
  return new Date(seconds * 1000).toUTCString().replace("GMT", "+0000");
}
