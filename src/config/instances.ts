/**
 * Sorts options by the instance that they are for: "--in-spool-dir" declares an instance "in", and
 * "--in-port" is its port. Options without a prefix are for the first instance. Source: R1.
 */
import { declaredPrefixes, type Fault, type OptionItem, readName } from "./lexer.ts";
import { type OptionLine, OptionSet } from "./option-set.ts";
import type { OptionSpec } from "./option-spec.ts";
import { findOption } from "./options.ts";

interface Sorted {
  /** At least one; the first one is also asked for the settings of the process. */
  readonly sets: readonly [OptionSet, ...OptionSet[]];
  readonly faults: readonly Fault[];
}

export function sortIntoInstances(items: readonly OptionItem[]): Sorted {
  const prefixes = declaredPrefixes(items.map((item) => item.name));
  const [firstPrefix = "", ...others] = prefixes;
  const sets = [new OptionSet(firstPrefix), ...others.map((prefix) => new OptionSet(prefix))] as [
    OptionSet,
    ...OptionSet[],
  ];
  const faults: Fault[] = [];
  for (const item of items) {
    const reading = readName(item.name, prefixes);
    if (reading === null) {
      faults.push({ origin: item.origin, text: `invalid option: ${item.shown}` });
      continue;
    }
    const wanted = reading.prefix === "" ? sets[0].prefix : reading.prefix;
    const set = sets.find((one) => one.prefix === wanted) ?? sets[0];
    const line = understand(item, reading.spec);
    const fault = "text" in line ? line : set.add(line);
    if (fault !== null) faults.push(fault);
  }
  return { sets, faults };
}

/** Checks whether a value is there exactly where one must be, and replaces old spellings. */
function understand(item: OptionItem, spec: OptionSpec): OptionLine | Fault {
  const { value, origin } = item;
  const base = { spec, written: item.name, origin };
  switch (spec.value) {
    case "none": {
      const state = value === null ? "on" : stateOf(value);
      return state === null
        ? { origin, text: `cannot give a value with "--${item.name}" (${value})` }
        : { ...base, state, value: "" };
    }
    case "optional":
      return { ...base, state: "on", value: value ?? "" };
    case "value":
    case "multi":
      if (value === null || (value === "" && spec.empty !== true)) {
        return { origin, text: `no value supplied for ${item.shown}` };
      }
      return modernise({ ...base, state: "on", value });
  }
}

function modernise(line: OptionLine): OptionLine {
  const { alias } = line.spec;
  const spec = alias === undefined ? null : findOption(alias.of);
  return alias === undefined || spec === null
    ? line
    : { ...line, spec, value: `${alias.prefix}${line.value}` };
}

function stateOf(word: string): "on" | "off" | null {
  if (/^(?:y|yes|t|true|1|on)$/i.test(word)) return "on";
  if (/^(?:n|no|f|false|0|off)$/i.test(word)) return "off";
  return null;
}
