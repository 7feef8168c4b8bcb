/**
 * E-MailRelay's log lines: `<program>: [<time>: ]<level>: [<context>]<text>`. Whatever a peer says, a line
 * stays one line and moves no cursor (log injection). Pure. Source: R4.
 */
import type { LogField } from "../core/config.ts";
import type { Level, Peer } from "../core/events.ts";

export interface LineContext {
  readonly program: string;
  /** Milliseconds since 1970; of no interest without the field "time". */
  readonly now: number;
  readonly fields: readonly LogField[];
  /** Prefix of the instance's options; "" for none. */
  readonly unit: string;
  readonly peer: Peer | null;
  /** The message that is being forwarded; "" for none. */
  readonly id: string;
}

/** Longest text, in characters. */
const MAX_TEXT = 1000;

/** Without its line feed. */
export function formatLine(level: Level, text: string, context: LineContext): string {
  const time = context.fields.includes("time") ? `${localTime(new Date(context.now))}: ` : "";
  const where = contextText(context);
  return `${context.program}: ${time}${level}: ${where}${cut(oneLine(text.slice(0, 2 * MAX_TEXT)))}`;
}

/** "20261121.015326.888" in local time. */
export function localTime(date: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = `${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
  return `${localDay(date)}.${clock}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** "20261121" in local time. */
export function localDay(date: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
}

/**
 * ESC becomes "." as in E-MailRelay; every other control character, the Unicode line separators and
 * what turns the direction of writing become escapes.
 */
export function oneLine(text: string): string {
  // Most lines are ASCII, which one look tells.
  if (!NOT_PLAIN.test(text)) return text;
  return text.replace(UNSAFE, (character) => {
    if (character === "\u001b") return ".";
    const known = SHORT.get(character);
    if (known !== undefined) return known;
    const hex = character.charCodeAt(0).toString(16);
    return hex.length <= 2 ? `\\x${hex.padStart(2, "0")}` : `\\u${hex}`;
  });
}

const NOT_PLAIN = /[^ -~]/;
const UNSAFE = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const SHORT: ReadonlyMap<string, string> = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

/** The first 1000 characters, never half of one. */
export function cut(text: string): string {
  if (text.length <= MAX_TEXT) return text;
  const last = text.charCodeAt(MAX_TEXT - 1);
  const halved = last >= 0xd800 && last < 0xdc00;
  return `${text.slice(0, halved ? MAX_TEXT - 1 : MAX_TEXT)} ...`;
}

function contextText({ fields, unit, peer, id }: LineContext): string {
  if (fields.length === 0) return "";
  const parts: string[] = [];
  if (fields.includes("unit") && unit !== "") parts.push(`[${unit}] `);
  if (peer !== null) parts.push(peerText(fields, peer));
  if (fields.includes("msgid") && id !== "") parts.push(`(${id.replace(/^emailrelay\./, "")}) `);
  return oneLine(parts.join(""));
}

function peerText(fields: readonly LogField[], { address, port }: Peer): string {
  const withAddress = fields.includes("address");
  if (!fields.includes("port")) return withAddress ? `${address}; ` : "";
  return withAddress ? `${address};${port}: ` : `${port}: `;
}
