/** Everything that can be said about options without looking at what they name. Pure. */
import { parsePort } from "../core/endpoint.ts";
import { interfacesFor, parseInterface, splitQualifier } from "./interfaces.ts";
import type { Fault } from "./lexer.ts";
import { readUnsigned } from "./numbers.ts";
import type { OptionSet } from "./option-set.ts";
import type { OptionName } from "./options.ts";
import { absolutePath, type Places } from "./paths.ts";
import { readFilter, readVerifier } from "./programs.ts";
import { hasLog, USAGE_RULES } from "./usage-rules.ts";
import { VALUE_RULES } from "./value-rules.ts";
import {
  readAnonymous,
  readClientSmtp,
  readLogFormat,
  readServerSmtp,
  readTlsVersions,
  wantedAscii,
} from "./words.ts";

/** Usage errors, in E-MailRelay's order. */
export function usageFaults(options: OptionSet): Fault[] {
  return [...USAGE_RULES, ...VALUE_RULES].flatMap(({ about, complaint }) => {
    const text = complaint(options);
    return text === null ? [] : [{ origin: options.origin(about), text }];
  });
}

/** What would stop the start although nothing is wrong with the usage. */
export function startFaults(options: OptionSet): Fault[] {
  return options
    .list("interface")
    .map((item) => splitQualifier(item).address)
    .filter((address) => parseInterface(address) === null)
    .map((address) => ({
      origin: options.origin("interface"),
      text: `invalid address or interface name: ${address}`,
    }));
}

type ProgramPurpose = "filter" | "verifier";

export interface Surroundings extends Places {
  readonly exists: (path: string) => boolean;
  /** What is wrong with a program that an option names; none when it can be run. */
  readonly programWarnings: (path: string, what: ProgramPurpose) => readonly string[];
}

/** What is odd but does not stop the start. */
export function warningsAbout(options: OptionSet, surroundings: Surroundings): Fault[] {
  const warnings: Fault[] = [];
  const warn = (name: OptionName, text: string) =>
    warnings.push({ origin: options.origin(name), text });
  if (options.count("pid-file") > 1) {
    warn("pid-file", "more than one --pid-file: using the first");
  }
  const closing = closesStderr(options);
  if (closing !== null && hasLog(options) && !hasLogTarget(options)) {
    const why = `--${closing} closes the standard error stream soon after startup`;
    warn(closing, `logging will stop because ${why}`);
  }
  if (options.text("server-auth") === "/pam") {
    warn("server-auth", "pam authentication should be enabled with pam: rather than /pam");
  }
  for (const { name, unknown } of smtpWords(options)) {
    for (const word of unknown) warn(name, `unknown smtp-config item [${word}]`);
  }
  const ascii = wantedAscii(options.text("domain") ?? "");
  if (ascii !== null) {
    const advice = ascii === "" ? "" : `: try using "${ascii}"`;
    warn("domain", `the domain should be printable ascii${advice}`);
  }
  for (const { name, path, what } of programsOf(options)) {
    const absolute = absolutePath(path, surroundings);
    for (const text of surroundings.programWarnings(absolute, what)) warn(name, text);
  }
  return warnings;
}

/** What E-MailRelay passes over in silence, and so does a start; a check says it. */
export function oversights(options: OptionSet): Fault[] {
  const faults: Fault[] = [];
  const note = (name: OptionName, text: string) =>
    faults.push({ origin: options.origin(name), text });
  for (const name of NUMBERS) {
    const text = options.text(name);
    const port = PORTS.has(name) && text !== null && parsePort(text) !== null;
    if (text !== null && !port && readUnsigned(text) === null) {
      note(name, `not a number: "${text}": --${name} has its default value`);
    }
  }
  for (const { name, unknown } of wordLists(options)) {
    for (const word of unknown) note(name, `unknown word: "${word}": it has no effect`);
  }
  const wanted = options.list("interface");
  if (wanted.length > 0 && interfacesFor("smtp", wanted).length === 0) {
    note("interface", "no address is for SMTP: it listens on all of them");
  }
  return faults;
}

/** The option because of which standard error is closed, or null. */
export function closesStderr(options: OptionSet): OptionName | null {
  const names = ["close-stderr", "as-server", "as-proxy"] as const;
  return names.find((name) => options.has(name)) ?? null;
}

/** True if syslog gets the log. */
export function usesSyslog(options: OptionSet): boolean {
  const off = (["no-syslog", "as-client", "trial"] as const).some((name) => options.has(name));
  return options.has("syslog") || !off;
}

function hasLogTarget(options: OptionSet): boolean {
  return options.has("log-file") || usesSyslog(options);
}

const NUMBERS = [
  "port",
  "size",
  "idle-timeout",
  "connection-timeout",
  "response-timeout",
  "prompt-timeout",
  "filter-timeout",
  "pop-port",
  "admin",
] as const;

/** They may be service names too. */
const PORTS: ReadonlySet<OptionName> = new Set(["port", "pop-port", "admin"]);

interface UnknownWords {
  readonly name: OptionName;
  readonly unknown: readonly string[];
}

function smtpWords(options: OptionSet): UnknownWords[] {
  const server = "server-smtp-config";
  const client = "client-smtp-config";
  return [
    { name: server, unknown: readServerSmtp(options.list(server)).unknown },
    { name: client, unknown: readClientSmtp(options.list(client)).unknown },
  ];
}

function wordLists(options: OptionSet): UnknownWords[] {
  return [
    { name: "tls-config", unknown: readTlsVersions(options.list("tls-config")).unknown },
    { name: "log-format", unknown: readLogFormat(options.list("log-format")).unknown },
    { name: "anonymous", unknown: readAnonymous(options.text("anonymous")).unknown },
  ];
}

interface NamedProgram {
  readonly name: OptionName;
  readonly path: string;
  readonly what: ProgramPurpose;
}

function programsOf(options: OptionSet): NamedProgram[] {
  const verifier = options.text("address-verifier");
  const specs = [
    ...options.list("filter").map((text) => ({ name: "filter" as const, spec: readFilter(text) })),
    ...options
      .list("client-filter")
      .map((text) => ({ name: "client-filter" as const, spec: readFilter(text) })),
    ...(verifier === null
      ? []
      : [{ name: "address-verifier" as const, spec: readVerifier(verifier) }]),
  ];
  return specs.flatMap(({ name, spec }) =>
    spec.kind === "program"
      ? [{ name, path: spec.path, what: name === "address-verifier" ? "verifier" : "filter" }]
      : [],
  );
}
