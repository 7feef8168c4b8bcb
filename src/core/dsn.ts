/**
 * What a client asked about reports (RFC 3461): RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT. It is
 * kept in envelope lines after the end, which E-MailRelay leaves alone. Pure.
 */
import { decodeXtext, decodeXtextBytes, encodeXtext } from "./xtext.ts";

export type Notify = "NEVER" | "SUCCESS" | "FAILURE" | "DELAY";

export interface RecipientDsn {
  /** null when nothing was said: then failures and delays are reported. */
  readonly notify: readonly Notify[] | null;
  /** "rfc822;xtext" or another type, ASCII, as it goes on the wire; null when nothing was said. */
  readonly orcpt: string | null;
}

export interface Dsn {
  /** What to send back of a failed message; null when nothing was said. */
  readonly ret: "FULL" | "HDRS" | null;
  /** xtext, as it goes on the wire; null when nothing was said. */
  readonly envid: string | null;
  /** Those for whom something was said, by their address in the envelope. */
  readonly recipients: ReadonlyMap<string, RecipientDsn>;
}

const RET = "X-Relayd-Dsn-Ret: ";
const ENVID = "X-Relayd-Dsn-Envid: ";
const RCPT = "X-Relayd-Dsn-Rcpt: ";

/** Longest values, in characters (RFC 3461 4.2, 4.4). */
const LONGEST_ENVID = 100;
const LONGEST_ORCPT = 500;

/** The lines for an envelope's trailer; none when nothing was said. */
export function dsnLines({ ret, envid, recipients }: Dsn): string[] {
  const lines: string[] = [];
  if (ret !== null) lines.push(`${RET}${ret}`);
  if (envid !== null) lines.push(`${ENVID}${envid}`);
  for (const [recipient, { notify, orcpt }] of recipients) {
    const words = [encodeXtext(recipient)];
    if (notify !== null) words.push(`NOTIFY=${notify.join(",")}`);
    if (orcpt !== null) words.push(`ORCPT=${orcpt}`);
    if (words.length > 1) lines.push(`${RCPT}${words.join(" ")}`);
  }
  return lines;
}

/** Reads them back. A damaged line, and a second one about the same, counts for nothing: nothing of it reaches the wire. */
export function dsnOf(trailer: readonly string[]): Dsn {
  let ret: Dsn["ret"] = null;
  let envid: string | null = null;
  const recipients = new Map<string, RecipientDsn>();
  for (const line of trailer) {
    if (line.startsWith(RET)) ret ??= parseRet(line.slice(RET.length));
    else if (line.startsWith(ENVID)) envid ??= parseEnvid(line.slice(ENVID.length));
    else if (line.startsWith(RCPT)) {
      const read = recipientOf(line.slice(RCPT.length));
      if (read !== null && !recipients.has(read.recipient))
        recipients.set(read.recipient, read.dsn);
    }
  }
  return { ret, envid, recipients };
}

function recipientOf(text: string): { recipient: string; dsn: RecipientDsn } | null {
  const match = /^(\S+)(?: NOTIFY=([A-Z,]+))?(?: ORCPT=(\S+))?$/.exec(text);
  const [, address = "", list, original] = match ?? [];
  const recipient = decodeXtext(address);
  const notify = list === undefined ? null : parseNotify(list);
  const orcpt = original === undefined ? null : parseOrcpt(original);
  const damaged =
    (list !== undefined && notify === null) || (original !== undefined && orcpt === null);
  return recipient === null || recipient === "" || damaged
    ? null
    : { recipient, dsn: { notify, orcpt } };
}

/** The value of RET, in any case; null when it is none. */
export function parseRet(value: string): "FULL" | "HDRS" | null {
  const word = value.toUpperCase();
  return word === "FULL" || word === "HDRS" ? word : null;
}

/** The value of ENVID: xtext of printable ASCII; null when it is none. */
export function parseEnvid(value: string): string | null {
  return value !== "" && value.length <= LONGEST_ENVID && isPrintable(value) ? value : null;
}

/** The value of NOTIFY, in any case: NEVER, or any of the others; null when it is none. */
export function parseNotify(value: string): readonly Notify[] | null {
  const words = value.toUpperCase().split(",");
  if (words.length === 1 && words[0] === "NEVER") return ["NEVER"];
  const known = words.filter(isCondition);
  return known.length === words.length && new Set(known).size === known.length ? known : null;
}

function isCondition(word: string): word is "SUCCESS" | "FAILURE" | "DELAY" {
  return word === "SUCCESS" || word === "FAILURE" || word === "DELAY";
}

/**
 * The value of ORCPT as it may go on: "rfc822;xtext", or "utf-8;..." (RFC 6533 3), of which what is not
 * ASCII comes back in its ASCII form. null when it is none.
 */
export function parseOrcpt(value: string): string | null {
  const [, type = "", address = ""] = /^([!#-'*+\-/-9A-Z^-~]+);(.+)$/su.exec(value) ?? [];
  if (type === "") return null;
  const orcpt = `${type};${isUtf8Type(type) ? asciiForm(address) : address}`;
  if (orcpt.length > LONGEST_ORCPT) return null;
  const good = isUtf8Type(type)
    ? UTF8_XTEXT.test(orcpt.slice(type.length + 1))
    : isPrintable(address);
  return good ? orcpt : null;
}

/** The address that an ORCPT speaks of, and its type; the address as text, "\x{...}" resolved. */
export function originalRecipient(orcpt: string): { type: string; address: string } {
  const at = orcpt.indexOf(";");
  const type = orcpt.slice(0, at);
  const value = orcpt.slice(at + 1);
  if (!isUtf8Type(type)) return { type, address: decodeXtext(value) ?? value };
  const address = value.replace(/\\x\{([0-9A-F]+)\}/g, (_, hex: string) =>
    String.fromCodePoint(Number.parseInt(hex, 16)),
  );
  return { type, address };
}

/** Characters beyond ASCII as "\x{...}": utf-8-addr-xtext of RFC 6533 3. */
function asciiForm(address: string): string {
  return address.replace(
    /[^!-~]/gu,
    (one) => `\\x{${one.codePointAt(0)?.toString(16).toUpperCase()}}`,
  );
}

const isUtf8Type = (type: string): boolean => type.toLowerCase() === "utf-8";

/** "\x{10}" to "\x{10FFFF}", never a surrogate or what could break a line; "=", "+" and "\" in that form only. */
const UTF8_XTEXT =
  /^(?:[!-*,-<>-[\]-~]|\\x\{(?:20|2B|3D|5C|[A-F][0-9A-F]|[1-9A-F][0-9A-F]{2}|[1-9A-CE-F][0-9A-F]{3}|D[0-7][0-9A-F]{2}|[1-9A-F][0-9A-F]{4}|10[0-9A-F]{4})\})+$/;

/** xtext of printable ASCII alone: what is decoded from it can stand in a report's field. */
function isPrintable(value: string): boolean {
  const bytes = decodeXtextBytes(value);
  return bytes?.every((byte) => byte >= 0x20 && byte < 0x7f) ?? false;
}

/** Whether the sender is to be told of this about a recipient (RFC 3461 4.1). */
export function isWanted(
  dsn: Dsn,
  recipient: string,
  action: "failed" | "delayed" | "relayed",
): boolean {
  const notify = dsn.recipients.get(recipient)?.notify ?? null;
  if (notify === null) return action !== "relayed";
  const words = { failed: "FAILURE", delayed: "DELAY", relayed: "SUCCESS" } as const;
  return notify.includes(words[action]);
}
