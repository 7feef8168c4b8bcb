/** Reads what --filter and --client-filter name: programs, and filters that are built in. Source: R9. */
import { RelayError } from "../core/errors.ts";

export type FilterSpec =
  | { readonly kind: "program"; readonly path: string }
  | { readonly kind: BuiltIn; readonly params: string };

export type BuiltIn = (typeof BUILT_IN)[number];

const BUILT_IN = [
  "exit",
  "sleepms",
  "net",
  "spam",
  "spam-edit",
  "copy",
  "deliver",
  "split",
  "mx",
  "msgid",
] as const;

/** One value of the option: items with commas between them. Throws CONFIG_INVALID that names the item. */
export function parseFilterSpec(value: string): FilterSpec[] {
  return value.split(",").map((item) => parseItem(item.trim()));
}

function parseItem(item: string): FilterSpec {
  const [, kind, params = ""] = /^([A-Za-z][\w-]*):(.*)$/s.exec(item) ?? [];
  if (kind === undefined || kind === "file") return program(kind === undefined ? item : params);
  const known = BUILT_IN.find((one) => one === kind);
  if (known === undefined) throw new RelayError("CONFIG_INVALID", item, `unknown type: ${kind}:`);
  return { kind: known, params };
}

function program(path: string): FilterSpec {
  if (path === "") throw new RelayError("CONFIG_INVALID", "", "missing program name");
  if (path.startsWith("/")) return { kind: "program", path };
  throw new RelayError("CONFIG_INVALID", path, `not an absolute path: "${path}"`);
}
