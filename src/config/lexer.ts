/**
 * Splits a command line into options and what follows them, by E-MailRelay's rules: `--name`,
 * `--name=value`, `--name value`, `-p value`, and valueless letters in one word (`-ltv`). What an
 * option means and whether it may have a value is not decided here. Source: R1, R3 (syntax texts).
 */
import { findLetter, readingsOf } from "./options.ts";

/** One option as it was given. */
export interface OptionItem {
  /** Long name, maybe with the prefix of an instance. */
  readonly name: string;
  /** How messages show it: `"--port"` or `-p`. */
  readonly shown: string;
  /** null: none given. */
  readonly value: string | null;
  /** "--port", or "relayd.conf:12". */
  readonly origin: string;
}

/** Something that cannot be used, and where it was found. */
export interface Fault {
  readonly origin: string;
  readonly text: string;
}

interface Lexed {
  readonly items: readonly OptionItem[];
  readonly faults: readonly Fault[];
  /** What follows the options: the name of the configuration file. */
  readonly rest: readonly string[];
}

/** Never throws, whatever the words are. */
export function lexCommandLine(argv: readonly string[]): Lexed {
  const items: OptionItem[] = [];
  const faults: Fault[] = [];
  const declared = declaredPrefixes(argv.map((word) => splitLong(word)?.name ?? ""));
  let at = 0;
  while (at < argv.length) {
    const word = argv[at] ?? "";
    if (word === "--") return { items, faults, rest: argv.slice(at + 1) };
    if (word === "-" || !word.startsWith("-")) break;
    const next = argv[at + 1] ?? null;
    const long = splitLong(word);
    const used =
      long === null
        ? lexLetters(word.slice(1), next, items, faults)
        : lexLong(long, next, declared, items, faults);
    at += 1 + used;
  }
  return { items, faults, rest: argv.slice(at) };
}

/** The prefixes that "<prefix>-spool-dir" declares, in their order. */
export function declaredPrefixes(names: readonly string[]): string[] {
  const prefixes = names.flatMap((name) => /^(.+)-spool-dir$/.exec(name)?.[1] ?? []);
  return [...new Set(prefixes)];
}

/**
 * The one meaning of a long name: an option of the table, or one with a declared prefix, or null. With
 * `undeclared` any prefix will do, for prefixes that a configuration file may still declare.
 */
export function readName(name: string, declared: readonly string[], undeclared = false) {
  const readings = readingsOf(name);
  const known = readings.find(({ prefix }) => prefix === "" || declared.includes(prefix));
  return known ?? (undeclared ? readings[0] : undefined) ?? null;
}

interface LongWord {
  readonly name: string;
  readonly value: string | null;
}

function splitLong(word: string): LongWord | null {
  if (!word.startsWith("--")) return null;
  const equals = word.indexOf("=");
  return equals < 0
    ? { name: word.slice(2), value: null }
    : { name: word.slice(2, equals), value: word.slice(equals + 1) };
}

/** Returns how many of the following words it has used. */
function lexLong(
  { name, value }: LongWord,
  next: string | null,
  declared: readonly string[],
  items: OptionItem[],
  faults: Fault[],
): number {
  const shown = `"--${name}"`;
  const origin = `--${name}`;
  const spec = readName(name, declared, true)?.spec ?? null;
  const wantsNext =
    value === null && spec !== null && (spec.value === "value" || spec.value === "multi");
  if (!wantsNext) {
    items.push({ name, shown, value, origin });
    return 0;
  }
  if (next === null) {
    faults.push({ origin, text: `no value supplied for ${shown}` });
    return 0;
  }
  if (next.startsWith("-")) {
    const text = `"--${name} ${next}" is probably a mistake, use "--${name}=... ${next}" or "--${name}=${next}"`;
    faults.push({ origin, text });
    return 1;
  }
  items.push({ name, shown, value: next, origin });
  return 1;
}

/** One letter may have its value in the next word; several letters are options without values. */
function lexLetters(
  letters: string,
  next: string | null,
  items: OptionItem[],
  faults: Fault[],
): number {
  const alone = [...letters].length === 1;
  let used = 0;
  for (const letter of letters) {
    const spec = findLetter(letter);
    const shown = `-${letter}`;
    if (spec === null) {
      faults.push({ origin: shown, text: `invalid option: "${shown}"` });
      continue;
    }
    const origin = `--${spec.name}`;
    if (spec.value === "none" || spec.value === "optional") {
      items.push({ name: spec.name, shown, value: null, origin });
    } else if (!alone || next === null) {
      faults.push({ origin, text: `no value supplied for ${shown}` });
    } else {
      items.push({ name: spec.name, shown, value: next, origin });
      used = 1;
    }
  }
  return used;
}
