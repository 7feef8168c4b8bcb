/** Options whose value is a list of words: what each word turns on or off. */
import { domainToASCII } from "node:url";
import type {
  ClientSmtpWords,
  LogField,
  ServerSmtpWords,
  SyslogFacility,
  TlsVersion,
  TlsVersions,
} from "../core/config.ts";

const SERVER_SMTP: ServerSmtpWords = {
  pipelining: true,
  chunking: false,
  smtputf8: false,
  smtputf8strict: false,
  strictparsing: true,
  alabels: true,
  linger: true,
};

const CLIENT_SMTP: ClientSmtpWords = {
  pipelining: true,
  smtputf8strict: true,
  eightbitstrict: false,
  binarymimestrict: true,
  linger: true,
};

export interface Words<T> {
  readonly settings: T;
  /** What none of the known words is. */
  readonly unknown: readonly string[];
}

export function readServerSmtp(words: readonly string[]): Words<ServerSmtpWords> {
  return applyWords(SERVER_SMTP, words);
}

export function readClientSmtp(words: readonly string[]): Words<ClientSmtpWords> {
  return applyWords(CLIENT_SMTP, words);
}

/** "x", "+x", "with-x" turn on, "-x", "nox", "without-x" turn off, "=x" is the default. Source: R7.4. */
function applyWords<T extends { readonly [K in keyof T]: boolean }>(
  defaults: T,
  words: readonly string[],
): Words<T> {
  const settings: Record<string, boolean> = { ...defaults };
  const unknown: string[] = [];
  for (const word of words) {
    const [, sign = "", name = ""] =
      Object.hasOwn(defaults, word) || !/^(?:with-|without-|no|[-+=])/.test(word)
        ? ["", "", word]
        : (/^(with-|without-|no|[-+=])(.*)$/s.exec(word) ?? []);
    if (!isKeyOf(defaults, name)) unknown.push(word);
    else if (sign === "=") settings[name] = defaults[name];
    else settings[name] = !["-", "no", "without-"].includes(sign);
  }
  // Only keys of the defaults have been written to.
  return { settings: settings as T, unknown };
}

function isKeyOf<T extends object>(settings: T, name: string): name is keyof T & string {
  return Object.hasOwn(settings, name);
}

/** --tls-config; the words for E-MailRelay's TLS libraries mean nothing here. */
export function readTlsVersions(words: readonly string[]): Words<TlsVersions> {
  let min: TlsVersion | null = null;
  let max: TlsVersion | null = null;
  const unknown: string[] = [];
  for (const word of words) {
    const [, minus = "", number] = /^(-?)tlsv(1(?:\.[0-3])?)$/i.exec(word) ?? [];
    const version = number === undefined ? null : tlsVersion(number);
    if (version === null) {
      if (!/^(?:openssl|mbedtls)$/i.test(word)) unknown.push(word);
    } else if (minus === "") min = version;
    else max = version;
  }
  return { settings: { min, max }, unknown };
}

function tlsVersion(number: string): TlsVersion | null {
  switch (number) {
    case "1":
    case "1.0":
      return "TLSv1";
    case "1.1":
      return "TLSv1.1";
    case "1.2":
      return "TLSv1.2";
    case "1.3":
      return "TLSv1.3";
    default:
      return null;
  }
}

const FIELDS: readonly LogField[] = ["time", "unit", "address", "port", "msgid"];

export interface LogWords {
  readonly fields: readonly LogField[];
  readonly json: boolean;
}

/** --log-format. */
export function readLogFormat(words: readonly string[]): Words<LogWords> {
  return {
    settings: {
      fields: FIELDS.filter((field) => words.includes(field)),
      json: words.includes("json"),
    },
    unknown: words.filter((word) => word !== "json" && !FIELDS.some((field) => field === word)),
  };
}

const FACILITIES: readonly SyslogFacility[] = [
  "mail",
  "user",
  "daemon",
  ...([0, 1, 2, 3, 4, 5, 6, 7] as const).map((n) => `local${n}` as const),
];

/** --syslog: "" is mail; null for a facility that does not exist. */
export function readFacility(text: string): SyslogFacility | null {
  return text === "" ? "mail" : (FACILITIES.find((facility) => facility === text) ?? null);
}

export interface AnonymousWords {
  readonly vrfy: boolean;
  readonly server: boolean;
  readonly content: boolean;
  readonly client: boolean;
}

/** --anonymous: null when not given, "" for everything. */
export function readAnonymous(text: string | null): Words<AnonymousWords> {
  const words = (text ?? "").split(",").map((word) => word.trim());
  const all = text === "";
  const on = (word: string) => all || words.includes(word);
  const settings = {
    vrfy: on("vrfy"),
    server: on("server"),
    content: on("content"),
    client: on("client"),
  };
  return {
    settings,
    unknown: words.filter((word) => word !== "" && !Object.hasOwn(settings, word)),
  };
}

/** The A-label form of a domain that is not printable ASCII, "" if it has none; null for one that is. */
export function wantedAscii(domain: string): string | null {
  return /^[!-~]*$/.test(domain) ? null : domainToASCII(domain);
}
