/** Specifications of filters and address verifiers, as far as they can be checked before anything runs. Source: R8, R9. */
import { parseEndpoint } from "../core/endpoint.ts";

/** A program by path, or something built in. */
export type ProgramSpec =
  | { readonly kind: "program"; readonly path: string }
  | { readonly kind: "builtin" }
  | { readonly kind: "invalid"; readonly why: string };

const FILTERS: ReadonlyMap<string, (value: string) => boolean> = new Map([
  ["exit", isNumber],
  ["sleepms", isNumber],
  ["net", isAddress],
  ["spam", isAddress],
  ["spam-edit", isAddress],
  ["copy", isAnything],
  ["deliver", isAnything],
  ["split", isAnything],
  ["mx", isAnything],
  ["msgid", isAnything],
]);

const VERIFIERS: ReadonlyMap<string, (value: string) => boolean> = new Map([
  ["exit", isNumber],
  ["net", isAddress],
  ["account", isAnything],
]);

export function readFilter(text: string): ProgramSpec {
  return readSpec(text, FILTERS);
}

export function readVerifier(text: string): ProgramSpec {
  return readSpec(text, VERIFIERS);
}

function readSpec(
  text: string,
  builtins: ReadonlyMap<string, (value: string) => boolean>,
): ProgramSpec {
  const [, kind, value = ""] = /^([a-z][a-z-]*):(.*)$/s.exec(text) ?? [];
  if (kind === undefined || kind === "file") {
    const path = kind === undefined ? text : value;
    return path === ""
      ? { kind: "invalid", why: "missing program name" }
      : { kind: "program", path };
  }
  const accepts = builtins.get(kind);
  if (accepts === undefined) return { kind: "invalid", why: `unknown type: ${kind}:` };
  return accepts(value)
    ? { kind: "builtin" }
    : { kind: "invalid", why: `invalid value for ${kind}: "${value}"` };
}

function isNumber(value: string): boolean {
  return /^\d+$/.test(value);
}

function isAddress(value: string): boolean {
  return parseEndpoint(value) !== null;
}

function isAnything(): boolean {
  return true;
}
