/** The option table as documentation: a page of markdown and a manual page. Pure. */
import type { OptionSection, OptionSpec } from "./option-spec.ts";
import { optionUsage } from "./option-spec.ts";

/** docs/options.md. */
export function renderMarkdown(sections: readonly OptionSection[]): string {
  const intro = [
    "# Options of relayd",
    "",
    "Made from the option table by `node scripts/make-option-docs.mjs`; do not edit.",
    "",
    "    relayd [<option> ...] [<config-file>]",
    "",
    ...RULES.map((rule) => `- ${rule}`),
  ];
  const parts = sections.map((section) => {
    const rows = section.options.map((spec) => `| ${markdownCells(spec).join(" | ")} |`);
    return [
      "",
      `## ${section.title}`,
      "",
      `Since ${section.since}.`,
      "",
      "| option | letter | default | for | what it does |",
      "| --- | --- | --- | --- | --- |",
      ...rows,
    ];
  });
  return `${[...intro, ...parts.flat()].join("\n")}\n`;
}

/** docs/relayd.1. */
export function renderManual(sections: readonly OptionSection[]): string {
  const options = sections.flatMap((section) => [
    `.SS ${roff(section.title)}`,
    ...section.options.flatMap(manualEntry),
  ]);
  return `${[
    ".TH RELAYD 1",
    ".ad l",
    ".SH NAME",
    "relayd \\- store\\-and\\-forward SMTP relay",
    ".SH SYNOPSIS",
    ".B relayd",
    ".RI [ option \\~.\\|.\\|.]",
    ".RI [ config\\-file ]",
    ".SH DESCRIPTION",
    ".B relayd",
    "takes mail over SMTP, keeps it in a spool directory, and hands it to a smarthost.",
    "Its command line, configuration file, secrets file and spool are those of E\\-MailRelay 2.6.",
    ".SH COMMAND LINE AND CONFIGURATION FILE",
    ...RULES.flatMap((rule) => [".IP \\(bu 2", roff(plain(rule))]),
    ".SH OPTIONS",
    ...options,
    ...ENDING,
  ].join("\n")}\n`;
}

/** How options are written; in markdown, of which the manual takes the text. */
const RULES = [
  "Options are written `--name`, `--name=value`, `--name value` or, with a letter, `-p value`. Letters " +
    "without values may stand together: `-ltv`.",
  "An option without a value may also be turned on with `=yes` and off with `=no`.",
  "The configuration file has one option per line, without the dashes: `name value`. Its options are added " +
    "to those of the command line. Lines that begin with `#` are comments.",
  "An option with a comma-separated list of values may be repeated. Another one may only be repeated with " +
    "the same value.",
  "`@app` at the beginning of a file name is the directory of the program.",
  "`--in-spool-dir` declares an instance named `in`, and `--in-port` is its port; one process may run several. " +
    "Options without a prefix are for the first instance, and those for the whole process are taken from it.",
];

const ENDING = [
  ".SH EXIT STATUS",
  ".TP",
  ".B 0",
  "Help, version, nothing to do, no messages to send, or a normal end.",
  ".TP",
  ".B 1",
  "An error.",
  ".TP",
  ".B 2",
  "A listening address cannot be had.",
  ".SH SIGNALS",
  "SIGTERM finishes what is in hand and ends.",
  "SIGHUP reads secrets and certificates again and opens the log file again.",
  "SIGUSR1 forwards now.",
  "SIGUSR2 writes a status line to the log.",
  ".SH SEE ALSO",
  ".BR relayd\\-submit (1),",
  ".BR relayd\\-passwd (1)",
];

function markdownCells(spec: OptionSpec): string[] {
  return [
    `\`${optionUsage(spec)}\``,
    spec.letter === undefined ? "" : `\`-${spec.letter}\``,
    spec.default ?? "",
    spec.scope,
    sentences(spec),
  ].map((cell) => cell.replaceAll("|", "\\|").replace(/<(?=[^`]*$)/g, "&lt;"));
}

function manualEntry(spec: OptionSpec): string[] {
  const letter = spec.letter === undefined ? "" : `\\-${spec.letter}, `;
  const usual = spec.default === undefined ? "" : ` Default: ${spec.default}.`;
  return [".TP", `.B "${letter}${roff(optionUsage(spec))}"`, roff(`${sentences(spec)}${usual}`)];
}

function sentences(spec: OptionSpec): string {
  return `${spec.help}.${spec.more === undefined ? "" : ` ${spec.more}`}`;
}

function plain(markdown: string): string {
  return markdown.replaceAll("`", "");
}

/** Text for groff: no character of it is taken for a request. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/, "\\&$1");
}
