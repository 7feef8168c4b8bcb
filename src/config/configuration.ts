/** From the command line to checked settings, or to what there is to say instead. Reads the configuration file, nothing else. */
import type { DaemonConfig } from "../core/config.ts";
import { RelayError } from "../core/errors.ts";
import { renderHelp, renderVersion } from "./command-line.ts";
import { lexConfigFile, readConfigText } from "./file.ts";
import { sortIntoInstances } from "./instances.ts";
import { type Fault, lexCommandLine, type OptionItem } from "./lexer.ts";
import type { OptionSet } from "./option-set.ts";
import type { OptionName } from "./options.ts";
import { expandApp } from "./paths.ts";
import { processSettings } from "./process-settings.ts";
import {
  oversights,
  type Surroundings,
  startFaults,
  usageFaults,
  warningsAbout,
} from "./validate.ts";

/** What the reading of options needs to know of the world. */
export interface Question extends Surroundings {
  /** Without interpreter and script. */
  readonly argv: readonly string[];
  /** The name we were called by, without directory and extension. */
  readonly program: string;
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of the configuration file where it has been read before: a pipe says it only once. null: it is read now. */
  readonly fileText: string | null;
}

/** Something to fix, or to look at, with the place where it stands. */
export interface Problem {
  /** "relayd.conf:12", "--port", or the path of a configuration file. */
  readonly where: string;
  readonly severity: "error" | "warning";
  readonly text: string;
}

/** Where an option of an instance was given: "relayd.conf:12"; "--port" when it was on the command line, or nowhere. */
export type Origins = (option: OptionName, instance?: string) => string;

export type Configuration =
  | { readonly kind: "help" | "version"; readonly verbose: boolean; readonly text: string }
  /** The lines are for standard error, without line ends. */
  | { readonly kind: "errors"; readonly lines: readonly string[]; readonly exitCode: 1 }
  /** With errors among the problems, the settings have defaults in place of what is wrong. */
  | {
      readonly kind: "check";
      readonly config: DaemonConfig;
      readonly problems: readonly Problem[];
      readonly origins: Origins;
    }
  | {
      readonly kind: "run";
      readonly config: DaemonConfig;
      /** Of the configuration file; "" without one. */
      readonly fileText: string;
      readonly warnings: readonly string[];
      readonly origins: Origins;
    };

/** Never throws. Order of what is looked at: help, syntax, version, number of arguments, usage (R3). */
export function readConfiguration(question: Question): Configuration {
  const reading = readOptions(question);
  const { sets, program } = reading;
  const verbose = sets.some((options) => options.has("verbose"));
  const asked = (name: OptionName) => sets.some((options) => options.has(name));
  if (asked("help")) {
    const text = renderHelp({ program, version: question.version, verbose });
    return { kind: "help", verbose, text };
  }
  if (asked("check-config")) return check(reading, question);
  if (reading.syntax.length > 0) return syntaxErrors(program, reading.syntax);
  if (asked("version")) {
    return { kind: "version", verbose, text: renderVersion(question.version, verbose) };
  }
  if (reading.tooMany) return errors(program, "usage error", [TOO_MANY]);
  if (reading.file !== null) return errors(program, "error", [reading.file.text]);
  const [wrongUse] = sets.flatMap(usageFaults);
  if (wrongUse !== undefined) return errors(program, "usage error", [wrongUse.text]);
  const obstacles = sets.flatMap(startFaults).map((fault) => fault.text);
  if (obstacles.length > 0) return errors(program, "error", obstacles);
  return {
    kind: "run",
    config: processSettings(sets, program, question),
    fileText: reading.text,
    warnings: sets.flatMap((options) => warningsAbout(options, question)).map(({ text }) => text),
    origins: originsOf(sets),
  };
}

const TOO_MANY = "too many non-option arguments";

interface Reading {
  readonly program: string;
  readonly sets: readonly [OptionSet, ...OptionSet[]];
  readonly syntax: readonly Fault[];
  /** The configuration file cannot be read. */
  readonly file: Fault | null;
  readonly text: string;
  readonly tooMany: boolean;
}

function readOptions(question: Question): Reading {
  const { argv, program, env } = question;
  const { items, faults, rest } = lexCommandLine(argv);
  const tooMany = rest.length > 1;
  const [path] = rest;
  const unread = path === undefined || tooMany;
  const file = unread ? NO_FILE : readLines(expandApp(path, question), question);
  const sorted = sortIntoInstances(withOldLogFile([...items, ...file.items], env));
  return {
    program,
    sets: sorted.sets,
    syntax: [...faults, ...sorted.faults],
    file: file.fault,
    text: file.text,
    tooMany,
  };
}

interface FileLines {
  readonly text: string;
  readonly items: readonly OptionItem[];
  /** Why it cannot be read. */
  readonly fault: Fault | null;
}

const NO_FILE: FileLines = { text: "", items: [], fault: null };

function readLines(path: string, { cwd, fileText }: Question): FileLines {
  try {
    const text = fileText ?? readConfigText(path, cwd);
    return { text, items: lexConfigFile(text, path), fault: null };
  } catch (error) {
    if (!(error instanceof RelayError)) throw error;
    return { ...NO_FILE, fault: { origin: error.where, text: error.message } };
  }
}

/** Version 1 of E-MailRelay took the name of its log from the environment (R18). */
function withOldLogFile(
  items: readonly OptionItem[],
  { GLOGOUTPUT_FILE: path = "" }: Question["env"],
): readonly OptionItem[] {
  if (path === "" || items.some((item) => /^(?:.+-)?log-file$/.test(item.name))) return items;
  const origin = "GLOGOUTPUT_FILE";
  return [...items, { name: "log-file", shown: '"--log-file"', value: path, origin }];
}

function check(reading: Reading, question: Question): Configuration {
  const { sets } = reading;
  const tooMany = reading.tooMany ? [{ origin: "", text: TOO_MANY }] : [];
  const file = reading.file === null ? [] : [reading.file];
  const wrong = [
    ...[...reading.syntax].sort(byText),
    ...tooMany,
    ...file,
    ...sets.flatMap((options) => [...usageFaults(options), ...startFaults(options)]),
  ];
  const odd = sets.flatMap((options) => [
    ...warningsAbout(options, question),
    ...oversights(options),
  ]);
  const problem = (severity: Problem["severity"]) => (fault: Fault) => ({
    where: fault.origin === "" ? question.program : fault.origin,
    severity,
    text: fault.text,
  });
  return {
    kind: "check",
    config: processSettings(sets, question.program, question),
    problems: [...wrong.map(problem("error")), ...odd.map(problem("warning"))],
    origins: originsOf(sets),
  };
}

function syntaxErrors(program: string, faults: readonly Fault[]): Configuration {
  const lines = [...faults].sort(byText).map(({ text }) => `${program}: error: ${text}`);
  const indent = " ".repeat(program.length + 2);
  const hint = `${indent}try "${program} --help --verbose" for more information`;
  return { kind: "errors", lines: [...lines, hint], exitCode: 1 };
}

function errors(program: string, kind: string, texts: readonly string[]): Configuration {
  return {
    kind: "errors",
    lines: texts.map((text) => `${program}: ${kind}: ${text}`),
    exitCode: 1,
  };
}

function byText(one: Fault, other: Fault): number {
  return one.text < other.text ? -1 : one.text > other.text ? 1 : 0;
}

function originsOf(sets: readonly [OptionSet, ...OptionSet[]]): Origins {
  return (option, instance) => {
    const options = sets.find(({ prefix }) => prefix === instance) ?? sets[0];
    return options.origin(option);
  };
}
