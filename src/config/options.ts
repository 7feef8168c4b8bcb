/** The option table: every option of relayd, once. Command line, file, help, manual and the prefix rule come from it. */
import type { OptionSection, OptionSpec } from "./option-spec.ts";
import { ADDITIONS_SECTION, OLD_SECTION } from "./options-additions.ts";
import { CLIENT_SECURITY_SECTION, FORWARD_SECTION, SPOOL_SECTION } from "./options-forward.ts";
import { LOG_SECTION, MODE_SECTION, PROCESS_SECTION } from "./options-process.ts";
import { QUEUE_SECTION } from "./options-queue.ts";
import { REPORTS_SECTION } from "./options-reports.ts";
import {
  OTHER_SERVERS_SECTION,
  SERVER_SECTION,
  SERVER_SECURITY_SECTION,
} from "./options-server.ts";

const SECTIONS = [
  MODE_SECTION,
  SPOOL_SECTION,
  FORWARD_SECTION,
  CLIENT_SECURITY_SECTION,
  SERVER_SECTION,
  SERVER_SECURITY_SECTION,
  OTHER_SERVERS_SECTION,
  PROCESS_SECTION,
  LOG_SECTION,
  QUEUE_SECTION,
  REPORTS_SECTION,
  ADDITIONS_SECTION,
  OLD_SECTION,
] as const;

/** In the order of help and manual. */
export const OPTION_SECTIONS: readonly OptionSection[] = SECTIONS;

/** The name of an option in the table, so that a misspelt one does not compile. */
export type OptionName = (typeof SECTIONS)[number]["options"][number]["name"];

const OPTIONS: readonly OptionSpec[] = OPTION_SECTIONS.flatMap((section) => section.options);
const BY_NAME: ReadonlyMap<string, OptionSpec> = new Map(OPTIONS.map((spec) => [spec.name, spec]));
const BY_LETTER: ReadonlyMap<string, OptionSpec> = new Map(
  OPTIONS.flatMap((spec) => (spec.letter === undefined ? [] : [[spec.letter, spec] as const])),
);

/** The option of this name without a prefix, or null. */
export function findOption(name: string): OptionSpec | null {
  return BY_NAME.get(name) ?? null;
}

export function findLetter(letter: string): OptionSpec | null {
  return BY_LETTER.get(letter) ?? null;
}

/** An option together with the instance that its prefix names; "" without a prefix. */
export interface PrefixedOption {
  readonly prefix: string;
  readonly spec: OptionSpec;
}

/**
 * Every way to read a long name: the table's own name alone if there is one, else each "<prefix>-<name>",
 * the shortest prefix first. Which prefixes are declared is for the caller to know.
 */
export function readingsOf(name: string): PrefixedOption[] {
  const whole = findOption(name);
  if (whole !== null) return [{ prefix: "", spec: whole }];
  const readings: PrefixedOption[] = [];
  for (let at = name.indexOf("-", 1); at > 0; at = name.indexOf("-", at + 1)) {
    const spec = findOption(name.slice(at + 1));
    if (spec !== null) readings.push({ prefix: name.slice(0, at), spec });
  }
  return readings;
}
