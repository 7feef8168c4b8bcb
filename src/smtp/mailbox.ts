/** The address in MAIL and RCPT: what of it we take, and the exact words for what we refuse. */
import { asciiDomain } from "../io/ascii-domain.ts";

export type Path =
  | {
      readonly kind: "path";
      /** The address as the client wrote it, without brackets and source route; "" is the null path. */
      readonly raw: string;
      /** The address with its domain as A-labels, if so wanted. */
      readonly address: string;
      /** What follows: the parameters. */
      readonly rest: string;
    }
  | { readonly kind: "bad"; readonly why: string };

export interface PathRules {
  /** Angle brackets are required. */
  readonly strict: boolean;
  /** Domains become A-labels. */
  readonly alabels: boolean;
}

export const BAD_CHARACTER = "invalid character in mailbox name";

/**
 * Reads what stands after the colon. Blanks at the ends of an address are refused: an envelope file does not
 * keep them, so that "< >" would come back as the null path. Source: R7.4, RFC 5321 4.1.2; liberal
 * beyond that, as E-MailRelay is.
 */
export function parsePath(text: string, rules: PathRules): Path {
  const start = skipBlanks(text, 0);
  const cut = text.startsWith("<", start) ? bracketed(text, start) : bare(text, start, rules);
  if (typeof cut === "string") return { kind: "bad", why: cut };
  const { raw, rest } = cut;
  if (UNFIT.test(raw) || /^[@ ]|[@ ]$/.test(raw)) {
    return { kind: "bad", why: BAD_CHARACTER };
  }
  return { kind: "path", raw, address: rules.alabels ? withAsciiDomain(raw) : raw, rest };
}

/** True for anything that wants SMTPUTF8 on the wire. */
export function isInternational(text: string): boolean {
  return NON_ASCII.test(text);
}

/** True if it holds what must never reach an envelope or a log line: C0, C1, DEL, line separators, broken UTF-8. */
export function hasControls(text: string): boolean {
  return UNFIT.test(text);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNFIT = /[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]/;
const NON_ASCII = /[^ -~]/;

/** One domain of a source route: a name, or an address literal, whose colons do not end the route. */
const HOP = /@(?:\[[^\]<>"@]*\]|[^,:<>"@[][^,:<>"@]*)/.source;
const SOURCE_ROUTE = `${HOP}(?:,${HOP})*:`;

/** Words for the refusal, or the two parts. */
type Cut = string | { readonly raw: string; readonly rest: string };

function bracketed(text: string, start: number): Cut {
  let at = start + 1;
  if (text.startsWith("@", at)) {
    const route = new RegExp(SOURCE_ROUTE, "y");
    route.lastIndex = at;
    if (!route.test(text)) return "invalid source route in mailbox name";
    at = route.lastIndex;
    // Only "<>" itself is the null path.
    if (text.startsWith(">", at)) return "invalid empty mailbox";
  }
  let from = at;
  if (text.startsWith('"', at)) {
    const quoted = /"(?:[^"\\]|\\.)*"/y;
    quoted.lastIndex = at;
    if (!quoted.test(text)) return "invalid quoting";
    from = quoted.lastIndex;
    if (!text.startsWith("@", from) && !text.startsWith(">", from)) return "invalid quoting";
  }
  const end = text.indexOf(">", from);
  if (end < 0) return "invalid angle brackets in mailbox name";
  const next = text[end + 1];
  if (next !== undefined && next !== " " && next !== "\t") return "invalid angle brackets";
  return { raw: text.slice(at, end), rest: text.slice(end + 1) };
}

function bare(text: string, start: number, rules: PathRules): Cut {
  if (rules.strict) return "missing angle brackets in mailbox name";
  const [raw = ""] = text.slice(start).split(/[ \t]/, 1);
  if (raw === "") return "invalid empty mailbox";
  return { raw, rest: text.slice(start + raw.length) };
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === " " || text[at] === "\t") at += 1;
  return at;
}

/** Leaves alone what is ASCII already, and what has no ASCII form. */
function withAsciiDomain(address: string): string {
  if (!NON_ASCII.test(address)) return address;
  const at = address.lastIndexOf("@");
  const ascii = at < 0 ? null : asciiDomain(address.slice(at + 1));
  return ascii === null ? address : `${address.slice(0, at + 1)}${ascii}`;
}
