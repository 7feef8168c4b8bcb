/**
 * Address lists as they stand in From, To, Cc and Bcc (RFC 5322 3.4, with the obsolete forms that
 * are still met): names, comments, groups, routes, folded lines. Tells where each address is and
 * never changes a byte, so that the same answer serves for reading recipients and for rewriting.
 */

/** One addr-spec. Offsets are into the text that was given. */
export interface FoundAddress {
  /** First character of the local part: after the angle bracket and any route. */
  readonly start: number;
  /** One past the last character of the domain. */
  readonly end: number;
  /** As written, quotes included; comments, white space and folds around the dots left out. */
  readonly local: string;
  /** As written, without comments; a literal keeps its brackets. "" for a bare local name. */
  readonly domain: string;
}

export type AddressList =
  | { readonly kind: "list"; readonly addresses: readonly FoundAddress[] }
  | { readonly kind: "invalid"; readonly at: number; readonly why: string };

/**
 * Reads the text of a field, after its colon. Takes time in proportion to the length whatever the
 * text. Characters above 127 count as letters, so bytes read as latin1 give byte offsets.
 * Beyond the RFC it takes a bare local name ("root"), and a group that the end of the text closes.
 */
export function parseAddressList(text: string): AddressList {
  try {
    return { kind: "list", addresses: readList(new TokenReader(text)) };
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { kind: "invalid", at: error.at, why: error.message };
  }
}

type TokenKind = "word" | "quoted" | "literal" | "end" | "<" | ">" | ":" | ";" | "," | "@";

interface Token {
  readonly kind: TokenKind;
  readonly start: number;
  readonly end: number;
}

class Malformed extends Error {
  readonly at: number;

  constructor(at: number, why: string) {
    super(why);
    this.at = at;
  }
}

function readList(reader: TokenReader): FoundAddress[] {
  const found: FoundAddress[] = [];
  let inGroup = false;
  for (;;) {
    let words = readWords(reader);
    if (reader.token.kind === ":") {
      if (inGroup || words.length === 0) throw unexpected(reader.token);
      inGroup = true;
      reader.advance();
      words = readWords(reader);
    }
    const address = readAddress(reader, words);
    if (address !== null) found.push(address);
    if (reader.token.kind === "end") return found;
    inGroup = readSeparator(reader, inGroup);
  }
}

/** True if what follows is still in the group. */
function readSeparator(reader: TokenReader, inGroup: boolean): boolean {
  const { token } = reader;
  const closes = token.kind === ";" && inGroup;
  if (!closes && token.kind !== ",") throw unexpected(token);
  reader.advance();
  return inGroup && !closes;
}

/** What follows the words that have been read; null for an empty element. */
function readAddress(reader: TokenReader, words: readonly Token[]): FoundAddress | null {
  if (reader.token.kind === "<") return readAngle(reader);
  if (words.length === 0) {
    if (reader.token.kind === "@") throw new Malformed(reader.token.start, "no local part");
    return null;
  }
  return readAddrSpec(reader, words);
}

function readAngle(reader: TokenReader): FoundAddress {
  reader.advance();
  skipRoute(reader);
  const words = readWords(reader);
  if (words.length === 0) throw new Malformed(reader.token.start, "empty address");
  const address = readAddrSpec(reader, words);
  if (reader.token.kind !== ">") throw unexpected(reader.token);
  reader.advance();
  return address;
}

/** RFC 5322 4.4: "@a,@b:" before the address means nothing any more. */
function skipRoute(reader: TokenReader): void {
  for (let steps = 0; ; steps += 1) {
    const { token } = reader;
    if (token.kind === ":" && steps > 0) break;
    if (token.kind !== "@" && token.kind !== ",") {
      if (steps === 0) return;
      throw unexpected(token);
    }
    reader.advance();
    if (token.kind === "@") readDomain(reader);
  }
  reader.advance();
}

function readAddrSpec(reader: TokenReader, words: readonly Token[]): FoundAddress {
  const start = words[0]?.start ?? reader.token.start;
  const local = joinWords(reader.text, words);
  if (reader.token.kind === "@") {
    reader.advance();
    const { domain, end } = readDomain(reader);
    return { start, end, local, domain };
  }
  // An encoded name with a raw comma in it would otherwise end up as a recipient.
  if (local.includes("=?")) throw new Malformed(start, "name without address");
  return { start, end: words.at(-1)?.end ?? start, local, domain: "" };
}

function readDomain(reader: TokenReader): { readonly domain: string; readonly end: number } {
  const first = reader.token;
  if (first.kind === "literal") {
    reader.advance();
    return {
      domain: reader.text.slice(first.start, first.end).replace(/[ \t\r\n]+/g, ""),
      end: first.end,
    };
  }
  const words = readWords(reader);
  const quoted = words.find((word) => word.kind === "quoted");
  if (quoted !== undefined) throw new Malformed(quoted.start, "quoted domain");
  const domain = joinWords(reader.text, words);
  const last = words.at(-1);
  if (last === undefined || `.${domain}.`.includes("..")) {
    throw new Malformed(first.start, "empty domain or domain label");
  }
  return { domain, end: last.end };
}

function readWords(reader: TokenReader): Token[] {
  const words: Token[] = [];
  while (reader.token.kind === "word" || reader.token.kind === "quoted") {
    words.push(reader.token);
    reader.advance();
  }
  return words;
}

/** "a . b" is one thing, "a b" is two: words belong together only over a dot. */
function joinWords(text: string, words: readonly Token[]): string {
  let joined = "";
  let dotted = true;
  for (const word of words) {
    const part = text.slice(word.start, word.end);
    const plain = word.kind === "word";
    if (!dotted && !(plain && part.startsWith("."))) {
      throw new Malformed(word.start, "words without a dot between them");
    }
    // A fold inside quotes is only its white space (RFC 5322 3.2.2).
    joined += plain ? part : part.replace(/\r?\n(?=[ \t])/g, "");
    dotted = plain && part.endsWith(".");
  }
  return joined;
}

function unexpected(token: Token): Malformed {
  return new Malformed(
    token.start,
    token.kind === "end" ? "unexpected end" : `unexpected "${token.kind}"`,
  );
}

const WORD = /[^\0-\x20()<>[\]:;@\\,"\x7f]+/y;
const SPECIALS = new Set<string>(["<", ">", ":", ";", ",", "@"]);

/** One token of look-ahead over the text; skips white space and comments. */
class TokenReader {
  readonly text: string;
  token: Token = { kind: "end", start: 0, end: 0 };

  constructor(text: string) {
    this.text = text;
    this.advance();
  }

  advance(): void {
    const start = this.#skipBlank(this.token.end);
    this.token = this.#read(start);
  }

  #read(start: number): Token {
    const first = this.text.charAt(start);
    if (first === "") return { kind: "end", start, end: start };
    if (SPECIALS.has(first)) return { kind: first as TokenKind, start, end: start + 1 };
    if (first === '"') return { kind: "quoted", start, end: closing(this.text, start, '"') };
    if (first === "[") return { kind: "literal", start, end: closing(this.text, start, "]") };
    WORD.lastIndex = start;
    if (!WORD.test(this.text)) throw new Malformed(start, "character that must be quoted");
    return { kind: "word", start, end: WORD.lastIndex };
  }

  #skipBlank(from: number): number {
    let at = from;
    for (;;) {
      const next = this.text.charCodeAt(at);
      if (next === 0x28) at = commentEnd(this.text, at);
      else if (next === 0x20 || next === 0x09 || next === 0x0d || next === 0x0a) at += 1;
      else return at;
    }
  }
}

/** One past the character that closes what starts here; a backslash takes the next one's meaning away. */
function closing(text: string, start: number, close: '"' | "]"): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const character = text.charAt(at);
    if (character === close) return at + 1;
    if (character === "\\") at += 1;
    else if (character === "[" && close === "]") break;
    if (isControl(text, at)) throw new Malformed(at, "control character");
  }
  throw new Malformed(start, close === "]" ? "unclosed domain literal" : "unclosed quotes");
}

/** Nested comments are counted, not descended into: depth costs nothing. */
function commentEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (character === 0x5c) at += 1;
    else if (character === 0x28) depth += 1;
    else if (character === 0x29) depth -= 1;
    if (depth === 0) return at + 1;
  }
  throw new Malformed(start, "unclosed comment");
}

/** Line ends are no control characters where a blank follows them: that is a fold. */
function isControl(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  if (code === 0x0d) return text.charCodeAt(at + 1) !== 0x0a;
  if (code === 0x0a) return !/[ \t]/.test(text.charAt(at + 1));
  return (code < 0x20 && code !== 0x09) || code === 0x7f;
}
