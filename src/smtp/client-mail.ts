/** What can be said about a message to this smarthost: the MAIL command, or why it cannot be sent. Pure. */
import type { ClientSmtpWords } from "../core/config.ts";
import { dsnOf } from "../core/dsn.ts";
import type { Envelope } from "../core/envelope.ts";
import { decodeXtext, encodeXtext } from "../core/xtext.ts";
import { fitsPath, isNamable } from "./client-path.ts";
import type { Extensions } from "./client-protocol.ts";

export interface MailTerms {
  readonly extensions: Extensions;
  /** The account we authenticated as; "" when we did not. */
  readonly account: string;
  /** --anonymous=client. */
  readonly anonymous: boolean;
  readonly words: ClientSmtpWords;
}

const NO_UTF8 = "cannot send utf8 message to non-smtputf8 server";
const NO_8BIT = "cannot send 8-bit message to 7-bit server";
const NO_CHUNKING = "cannot send binarymime message to a non-chunking server";

/**
 * Why the message must not be sent to any smarthost; null when it may be, to some of its recipients at
 * least where it need not be for all of them. Source: R11.
 */
export function unsendable({ from, toRemote }: Envelope, forwardTo: "all" | "some"): string | null {
  if (toRemote.length === 0) return "no remote recipients";
  const enough = forwardTo === "all" ? toRemote.every(isNamable) : toRemote.some(isNamable);
  if (fitsPath(from) && enough) return null;
  return "cannot send message with an invalid address in its envelope";
}

/** Binary content goes in chunks; everything else as DATA. */
export function framing(envelope: Envelope, extensions: Extensions): "dot" | "chunk" {
  return envelope.body === "binarymime" && canChunk(extensions) ? "chunk" : "dot";
}

/** "MAIL FROM:<x> BODY=... SMTPUTF8 AUTH=... RET=... ENVID=...", in this order. */
export function mailCommand(envelope: Envelope, terms: MailTerms): string {
  const { words } = terms.extensions;
  let command = `MAIL FROM:<${envelope.from}>`;
  if (words.has("8BITMIME")) {
    if (envelope.body === "7bit") command += " BODY=7BIT";
    if (envelope.body === "8bit") command += " BODY=8BITMIME";
  }
  if (framing(envelope, terms.extensions) === "chunk") command += " BODY=BINARYMIME";
  if (words.has("SMTPUTF8") && needsUtf8(envelope)) command += " SMTPUTF8";
  const auth = terms.account === "" ? "" : authParameter(envelope.mailFromAuthOut, terms);
  if (auth !== "") command += ` AUTH=${auth}`;
  if (!words.has("DSN")) return command;
  const { ret, envid } = dsnOf(envelope.trailer);
  if (ret !== null) command += ` RET=${ret}`;
  return envid === null ? command : `${command} ENVID=${envid}`;
}

/** "RCPT TO:<x> NOTIFY=... ORCPT=..." for each recipient in turn (RFC 3461 5.2.1). */
export function rcptCommands(envelope: Envelope, { words }: Extensions): readonly string[] {
  const { recipients } = dsnOf(words.has("DSN") ? envelope.trailer : []);
  return envelope.toRemote.map((recipient) => {
    const { notify = null, orcpt = null } = recipients.get(recipient) ?? {};
    let command = `RCPT TO:<${recipient}>`;
    if (notify !== null) command += ` NOTIFY=${notify.join(",")}`;
    return orcpt === null ? command : `${command} ORCPT=${orcpt}`;
  });
}

function authParameter(wanted: string, terms: MailTerms): string {
  if (terms.anonymous || wanted === "<>") return "<>";
  if (wanted === "") return encodeXtext(terms.account);
  return decodeXtext(wanted) === null ? "" : wanted;
}

/** What the smarthost has not offered. If it is `strict` the message must not be sent; else it gets it all the same. */
export interface Objection {
  readonly why: string;
  readonly strict: boolean;
}

export function objections(
  envelope: Envelope,
  { extensions, words }: MailTerms,
): readonly Objection[] {
  const found: Objection[] = [];
  if (!extensions.words.has("SMTPUTF8") && needsUtf8(envelope)) {
    found.push({ why: NO_UTF8, strict: words.smtputf8strict });
  }
  if (envelope.body === "8bit" && !extensions.words.has("8BITMIME")) {
    found.push({ why: NO_8BIT, strict: words.eightbitstrict });
  }
  if (envelope.body === "binarymime" && !canChunk(extensions)) {
    found.push({ why: NO_CHUNKING, strict: words.binarymimestrict });
  }
  return found;
}

const canChunk = ({ words }: Extensions): boolean =>
  words.has("CHUNKING") && words.has("BINARYMIME");

/** RFC 6531 3.4: any address that is not ASCII needs the extension, whatever the envelope claims. */
function needsUtf8({ utf8Mailboxes, from, toRemote }: Envelope): boolean {
  return utf8Mailboxes || !isAscii(from) || !toRemote.every(isAscii);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is meant, all of it.
const isAscii = (address: string): boolean => /^[\x00-\x7f]*$/.test(address);
