/** What one run of the program was asked to do: the options' values, checked. */
import { encodeXtext } from "../core/xtext.ts";
import { argumentAddresses } from "./mailbox.ts";
import type { CommandLine } from "./options.ts";

export interface SubmitRequest {
  /** Envelope sender, "" for the null sender; null: find it in the header. */
  readonly from: string | null;
  /** Recipients from the command line; empty: find them in the header. */
  readonly to: readonly string[];
  /** Replace To, Cc and Bcc by the envelope's recipients. */
  readonly contentTo: boolean;
  /** Replace From and Sender by the envelope's sender. */
  readonly contentFrom: boolean;
  /** Add Date where there is none. */
  readonly contentDate: boolean;
  /** Add Message-ID with this domain where there is none; null: do not. */
  readonly contentMessageId: string | null;
  /** A message apart for each Bcc recipient. */
  readonly bccSplit: boolean;
  /** Put copies of the envelope into the sub-directories of the spool. */
  readonly copy: boolean;
  /** xtext, "<>" or "". */
  readonly authIn: string;
  readonly authOut: string;
}

/** Throws with the text for the user when a value cannot be used. */
export function readRequest({ options, recipients }: CommandLine): SubmitRequest {
  const value = (name: Parameters<typeof options.get>[0]): string | null =>
    options.get(name)?.[0] ?? null;
  const lists = (options.get("to") ?? []).filter((list) => list !== "");
  return {
    from: sender(value("from")),
    to: [...recipients, ...lists].flatMap(recipientAddresses),
    contentTo: options.has("content-to"),
    contentFrom: options.has("content-from"),
    contentDate: options.has("content-date"),
    contentMessageId: messageIdDomain(value("content-message-id")),
    bccSplit: options.has("bcc-split"),
    copy: options.has("copy"),
    authIn: authParameter(value("from-auth-in")),
    authOut: authParameter(value("from-auth-out")),
  };
}

/**
 * What is to come before the input: the lines of --content, and the empty line that makes the rest
 * the body where --body says so. Throws for text that is not base64.
 */
export function leadingContent({ options }: CommandLine): Buffer {
  const lines = (options.get("content") ?? []).map(contentLine);
  const ended = lines.some((line) => line.length === 0);
  if (options.has("body") && !ended) lines.push(Buffer.alloc(0));
  return Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\r\n")]));
}

/** Shows control characters as \x0a: what is refused must not act on the terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

function sender(text: string | null): string | null {
  if (text === null) return null;
  if (text === "" || text === "<>") return "";
  const [address, ...more] = argumentAddresses(text) ?? [];
  if (address === undefined || more.length > 0) {
    throw new Error(`invalid sender address: [${printable(text)}]`);
  }
  return address;
}

function recipientAddresses(text: string): string[] {
  const addresses = argumentAddresses(text);
  if (addresses === null || addresses.length === 0) {
    throw new Error(`invalid recipient address: [${printable(text)}]`);
  }
  return addresses;
}

function messageIdDomain(text: string | null): string | null {
  if (text === null) return null;
  if (text === "") return "local";
  if (!/^[\w.:[\]\u0080-\u{10ffff}-]+$/u.test(text) || printable(text) !== text) {
    throw new Error(`invalid message-id domain: [${printable(text)}]`);
  }
  // Header text is bytes; see Field.
  return Buffer.from(text).toString("latin1");
}

function authParameter(text: string | null): string {
  return text === "" ? "<>" : encodeXtext(text ?? "");
}

function contentLine(text: string): Buffer {
  if (text === "" || text === "=") return Buffer.alloc(0);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.replace(/=+$/, "").length % 4 === 1) {
    throw new Error(`invalid base64 content: [${printable(text)}]`);
  }
  return Buffer.from(text, "base64");
}
