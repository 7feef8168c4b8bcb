/** A command line as verb and argument, and the parameters of MAIL; every refusal with its exact reply. */
import { isAscii } from "node:buffer";
import { parseEnvid, parseNotify, parseOrcpt, parseRet, type RecipientDsn } from "../core/dsn.ts";
import { decodeXtext, encodeXtext } from "../core/xtext.ts";
import { hasControls } from "./mailbox.ts";

export interface Command {
  /** Upper case; "" for an empty line. */
  readonly verb: string;
  /** What follows the verb, without blanks around it. Broken UTF-8 shows as U+FFFD. */
  readonly argument: string;
}

/** Reads a line without its CRLF. Blanks and tabs separate. */
export function parseCommand(line: Buffer): Command {
  const text = isAscii(line) ? line.toString("latin1") : line.toString("utf8");
  let end = 0;
  while (end < text.length && !isBlank(text, end)) end += 1;
  const verb = text.slice(0, end).toUpperCase();
  let start = end;
  while (start < text.length && isBlank(text, start)) start += 1;
  let stop = text.length;
  while (stop > start && isBlank(text, stop - 1)) stop -= 1;
  return { verb, argument: text.slice(start, stop) };
}

function isBlank(text: string, at: number): boolean {
  return text[at] === " " || text[at] === "\t";
}

/** The path and parameters of "FROM:<...> ..." or "TO:<...> ..."; null with the reason when the word is not there. */
export function afterWord(
  argument: string,
  word: "FROM" | "TO",
): { readonly text: string } | { readonly why: string } {
  const length = word.length + 1;
  if (argument.slice(0, length).toUpperCase() === `${word}:`) {
    return { text: argument.slice(length) };
  }
  if (!argument.includes(":")) return { why: "missing colon" };
  return { why: word === "FROM" ? "invalid mail-from command" : "invalid rcpt-to command" };
}

export interface MailParameters {
  /** null when not given. */
  readonly size: number | null;
  readonly body: "7bit" | "8bit" | "binarymime" | "unknown";
  /** xtext, "<>", or "" when not given. */
  readonly auth: string;
  readonly smtputf8: boolean;
  /** As in `core/dsn.ts`; null when not given. */
  readonly ret: "FULL" | "HDRS" | null;
  readonly envid: string | null;
}

const NO_PARAMETERS: MailParameters = {
  size: null,
  body: "unknown",
  auth: "",
  smtputf8: false,
  ret: null,
  envid: null,
};

/** What EHLO has offered. */
export interface Offered {
  readonly dsn: boolean;
}

/** The parameters of MAIL, or the reply that refuses them. */
export function parseMailParameters(rest: string, { dsn }: Offered): MailParameters | string {
  return parseParameters(rest, NO_PARAMETERS, (found, parts) => {
    const { keyword } = parts;
    const aboutReports = dsn && (keyword === "RET" || keyword === "ENVID");
    return aboutReports ? mailDsn(found, parts) : mailParameter(found, parts);
  });
}

const NO_DSN: RecipientDsn = { notify: null, orcpt: null };

/** The parameters of RCPT, or the reply that refuses them. Without DSN there are none. */
export function parseRcptParameters(rest: string, { dsn }: Offered): RecipientDsn | string {
  return parseParameters(rest, NO_DSN, (found, parts) =>
    dsn ? rcptDsn(found, parts) : unsupported(parts.keyword),
  );
}

/** Each parameter may be there once. */
function parseParameters<T>(
  rest: string,
  none: T,
  take: (found: T, parts: Parameter) => T | string,
): T | string {
  if (rest === "") return none;
  let found = none;
  const seen: string[] = [];
  for (const word of rest.split(/[ \t]+/)) {
    if (word === "") continue;
    const parts = parseParameter(word);
    if (parts === null || seen.includes(parts.keyword)) return BAD_PARAMETER;
    seen.push(parts.keyword);
    const next = take(found, parts);
    if (typeof next === "string") return next;
    found = next;
  }
  return found;
}

const BAD_PARAMETER = "501 5.5.4 invalid parameter";

interface Parameter {
  /** Upper case. */
  readonly keyword: string;
  /** null when there is no "=". */
  readonly value: string | null;
}

/** Source: RFC 5321 4.1.2, esmtp-param. */
function parseParameter(word: string): Parameter | null {
  const match = /^([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^=]+))?$/.exec(word);
  if (match === null || hasControls(word)) return null;
  const [, keyword = "", value] = match;
  return { keyword: keyword.toUpperCase(), value: value ?? null };
}

function mailParameter(found: MailParameters, { keyword, value }: Parameter) {
  switch (keyword) {
    case "SIZE":
      if (value === null || !/^\d{1,20}$/.test(value)) return "501 5.5.4 invalid size parameter";
      return { ...found, size: Number(value) };
    case "BODY":
      return value === null ? BAD_PARAMETER : { ...found, body: bodyType(value) };
    case "AUTH":
      return value === null ? BAD_PARAMETER : { ...found, auth: authMailbox(value) };
    case "SMTPUTF8":
      if (value !== null) return "553 mailbox name not allowed: invalid mail-from parameter";
      return { ...found, smtputf8: true };
    default:
      return unsupported(keyword);
  }
}

function mailDsn(found: MailParameters, { keyword, value }: Parameter): MailParameters | string {
  if (keyword === "RET") {
    const ret = parseRet(value ?? "");
    return ret === null ? BAD_PARAMETER : { ...found, ret };
  }
  const envid = parseEnvid(value ?? "");
  return envid === null ? BAD_PARAMETER : { ...found, envid };
}

function rcptDsn(found: RecipientDsn, { keyword, value }: Parameter): RecipientDsn | string {
  switch (keyword) {
    case "NOTIFY": {
      const notify = parseNotify(value ?? "");
      return notify === null ? BAD_PARAMETER : { ...found, notify };
    }
    case "ORCPT": {
      const orcpt = parseOrcpt(value ?? "");
      return orcpt === null ? BAD_PARAMETER : { ...found, orcpt };
    }
    default:
      return unsupported(keyword);
  }
}

function unsupported(keyword: string): string {
  return `555 5.5.4 unsupported parameter: ${keyword}`;
}

function bodyType(value: string): MailParameters["body"] {
  switch (value.toUpperCase()) {
    case "7BIT":
      return "7bit";
    case "8BITMIME":
      return "8bit";
    case "BINARYMIME":
      return "binarymime";
    default:
      return "unknown";
  }
}

/** Always valid xtext again, so that nothing but one word can come into the envelope. */
function authMailbox(value: string): string {
  return value === "<>" ? value : encodeXtext(decodeXtext(value) ?? value);
}

export interface ChunkSize {
  readonly size: number;
  readonly last: boolean;
  /** False: the octets follow, but the command is not valid. */
  readonly valid: boolean;
}

/** The argument of BDAT; null when it does not say how many octets follow. */
export function parseChunkSize(argument: string): ChunkSize | null {
  const [count = "", word, ...more] = argument.split(/[ \t]+/);
  if (!/^\d{1,15}$/.test(count)) return null;
  const size = Number(count);
  const last = word?.toUpperCase() === "LAST";
  const valid = more.length === 0 && (last || (word === undefined && size > 0));
  return { size, last, valid };
}
