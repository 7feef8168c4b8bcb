/** The text of --dnsbl. Pure. Source: R7.8. */
import type { HostPort } from "../core/endpoint.ts";
import { RelayError } from "../core/errors.ts";
import { parseDnsServer } from "../io/dns.ts";
import { isDnsName } from "../io/dns-message.ts";

export interface DnsblSpec {
  /** Domains of the block lists. */
  readonly lists: readonly string[];
  /** Lists that must name a client before it is denied; 0: none ever is. */
  readonly threshold: number;
  readonly timeoutMs: number;
  /** What a client is when the time is over before it is decided. */
  readonly afterTimeout: "allow" | "deny";
  /** null: the first one of the system. */
  readonly server: HostPort | null;
}

const DEFAULT_THRESHOLD = 1;
const DEFAULT_TIMEOUT_MS = 5000;
const MAX_TIMEOUT_MS = 3_600_000;
/** An IPv6 address takes 64 characters in front of the list's own name. */
const LONGEST_PREFIX = "0.".repeat(32);

/**
 * "<list>,...[,<threshold>[,<timeout>[,<dns server>]]]", or in the reverse order with everything
 * given. Throws CONFIG_INVALID, which names the word at fault.
 */
export function parseDnsbl(text: string): DnsblSpec {
  const given = text.split(",").map((word) => word.trim());
  const words = parseDnsServer(given[0] ?? "") === null ? given : reversed(given);
  const firstNumber = words.findIndex(isNumber);
  const lists = firstNumber < 0 ? words : words.slice(0, firstNumber);
  const numbers = firstNumber < 0 ? [] : words.slice(firstNumber);
  const [threshold, timeout, server, extra] = numbers;
  if (extra !== undefined) throw fault(`nothing may follow the dns server: "${extra}"`);
  if (lists.length === 0) throw fault(`no block list before "${threshold ?? ""}"`);
  return {
    lists: lists.map(parseList),
    threshold: threshold === undefined ? DEFAULT_THRESHOLD : parseThreshold(threshold),
    ...(timeout === undefined
      ? { timeoutMs: DEFAULT_TIMEOUT_MS, afterTimeout: "allow" }
      : parseTimeout(timeout)),
    server: server === undefined ? null : parseServer(server),
  };
}

/** What keeps a text from being used, as it is told at start; none when it can be. */
export function dnsblFaults(text: string): string[] {
  try {
    parseDnsbl(text);
    return [];
  } catch (error) {
    if (error instanceof RelayError) return [error.message];
    throw error;
  }
}

/** The lists keep their order. */
function reversed([server = "", timeout = "", threshold = "", ...lists]: readonly string[]) {
  const named = lists.find(isNumber);
  if (named !== undefined) throw fault(`not the name of a block list: "${named}"`);
  // What is missing here would be taken for something else once it is turned round.
  if (!isNumber(timeout)) throw fault(`not a timeout: "${timeout}"`);
  if (!isNumber(threshold)) throw fault(`not a threshold: "${threshold}"`);
  return [...lists, threshold, timeout, server];
}

function isNumber(word: string): boolean {
  return /^[+-]?\d+(?:ms|s)?$/.test(word);
}

function parseList(word: string): string {
  const isName = /[A-Za-z]/.test(word.slice(word.lastIndexOf(".") + 1)) || word.endsWith(".");
  const usable = isName && /^[\w.-]+$/.test(word) && isDnsName(`${LONGEST_PREFIX}${word}`);
  if (!usable) throw fault(`not the name of a block list: "${word}"`);
  return word.replace(/\.$/, "");
}

function parseThreshold(word: string): number {
  if (!/^\d{1,6}$/.test(word)) throw fault(`not a threshold: "${word}"`);
  return Number(word);
}

function parseTimeout(word: string): Pick<DnsblSpec, "timeoutMs" | "afterTimeout"> {
  const [, sign, digits = "", unit] = /^([+-]?)(\d{1,9})(ms|s)?$/.exec(word) ?? [];
  const timeoutMs = Number(digits) * (unit === "s" ? 1000 : 1);
  if (digits === "" || timeoutMs > MAX_TIMEOUT_MS) throw fault(`not a timeout: "${word}"`);
  return { timeoutMs, afterTimeout: sign === "-" && timeoutMs > 0 ? "deny" : "allow" };
}

function parseServer(word: string): HostPort {
  const server = parseDnsServer(word);
  if (server === null) throw fault(`not the address of a dns server: "${word}"`);
  return server;
}

function fault(why: string): RelayError {
  return new RelayError("CONFIG_INVALID", "", `invalid dnsbl configuration: ${why}`);
}
