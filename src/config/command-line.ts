/** Help and version. commander holds the options, as the table lists them, and lays out their description. */
import { createRequire } from "node:module";
import type * as Commander from "commander";
import { type OptionSpec, optionUsage } from "./option-spec.ts";
import { OPTION_SECTIONS } from "./options.ts";

const COPYRIGHT = "Copyright (c) 2026 The relayd authors";
const WARRANTY =
  "relayd is free software under the MIT license. It comes without warranty of any kind.";
const HELP_WIDTH = 100;

interface HelpRequest {
  readonly program: string;
  readonly version: string;
  /** With all options, their defaults and details. */
  readonly verbose: boolean;
}

export function renderHelp({ program, version, verbose }: HelpRequest): string {
  const command = commandFor(program, verbose);
  const hint = verbose
    ? "The options are also described in docs/options.md and in the manual page relayd(1)."
    : `Try "${program} --help --verbose" for all options.`;
  return `${banner(version)}\n\n${command.helpInformation()}\n${hint}\n\n${COPYRIGHT}\n`;
}

/** The capability lines are worded as in E-MailRelay, whose scripts look for them. Source: R3. */
export function renderVersion(version: string, verbose: boolean): string {
  const tls = `OpenSSL ${process.versions.openssl ?? ""}`;
  const capabilities = [
    "Multi-threading: disabled",
    "Unix domain sockets: enabled",
    "POP server: enabled",
    "Admin server: enabled",
    `TLS library: ${tls}`,
  ];
  const paragraphs = [
    banner(version),
    COPYRIGHT,
    ...(verbose ? [capabilities.join("\n")] : []),
    `TLS by ${tls} (https://www.openssl.org/), in Node.js ${process.versions.node}`,
    WARRANTY,
  ];
  return `${paragraphs.join("\n\n")}\n`;
}

function banner(version: string): string {
  return `relayd V${version}`;
}

function commandFor(program: string, verbose: boolean): Commander.Command {
  const { Command, Option } = loadCommander();
  const command = new Command(program)
    .usage("[<option> ...] [<config-file>]")
    .helpOption(false)
    .configureOutput({ getOutHelpWidth: () => HELP_WIDTH });
  const specs = new Map<Commander.Option, OptionSpec>();
  for (const section of OPTION_SECTIONS) {
    for (const spec of section.options.filter((one) => verbose || one.common === true)) {
      const option = new Option(flags(spec), spec.help).helpGroup(`${section.title}:`);
      specs.set(option, spec);
      command.addOption(option);
    }
  }
  return command.configureHelp({
    minWidthToWrap: 20,
    styleTitle: (title) => (title === "Usage:" ? usageTitle(verbose) : title),
    optionTerm: (option) => withSpec(specs.get(option), term),
    optionDescription: (option) =>
      withSpec(specs.get(option), (spec) => (verbose ? description(spec) : spec.help)),
  });
}

/** commander is only needed for help: to load it takes as long as everything else here. */
function loadCommander(): typeof Commander {
  return createRequire(import.meta.url)("commander") as typeof Commander;
}

function usageTitle(verbose: boolean): string {
  return verbose ? "usage:" : "abbreviated usage:";
}

function flags(spec: OptionSpec): string {
  const letter = spec.letter === undefined ? "" : `-${spec.letter}, `;
  const argument = spec.argument ?? "value";
  const values = {
    none: "",
    value: ` <${argument}>`,
    multi: ` <${argument}>`,
    optional: ` [${argument}]`,
  };
  return `${letter}--${spec.name}${values[spec.value]}`;
}

function term(spec: OptionSpec): string {
  const letter = spec.letter === undefined ? "    " : `-${spec.letter}, `;
  return `${letter}${optionUsage(spec)}`;
}

function description(spec: OptionSpec): string {
  const value = spec.default === undefined ? "" : `(default: ${spec.default})`;
  return [`${spec.help}.`, spec.more ?? "", value].filter((part) => part !== "").join(" ");
}

function withSpec(spec: OptionSpec | undefined, render: (spec: OptionSpec) => string): string {
  return spec === undefined ? "" : render(spec);
}
