/** The configuration file: one option per line, without the dashes. Source: R1. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { RelayError } from "../core/errors.ts";
import type { OptionItem } from "./lexer.ts";

/** The options in a file. Throws CONFIG_INVALID when it cannot be read or has a NUL byte in it. */
export function readConfigFile(path: string, cwd: string): OptionItem[] {
  return lexConfigFile(readConfigText(path, cwd), path);
}

/** The options in the text of a file; `path` is only for messages. Throws CONFIG_INVALID for a NUL byte. */
export function lexConfigFile(text: string, path: string): OptionItem[] {
  const items: OptionItem[] = [];
  for (const [index, raw] of text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    const origin = `${path}:${index + 1}`;
    if (raw.includes("\0")) {
      throw new RelayError("CONFIG_INVALID", origin, `NUL byte in configuration file: ${origin}`);
    }
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const [, name = "", rest = ""] = /^[\t =]*([^\t =]*)[\t =]*(.*)$/s.exec(line) ?? [];
    // An empty pair of quotes is an empty value, nothing at all is no value.
    const value = rest === "" ? null : unquote(rest);
    items.push({ name, shown: `"--${name}"`, value, origin });
  }
  return items;
}

function unquote(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}

/** Throws CONFIG_INVALID when it cannot be read. */
export function readConfigText(path: string, cwd: string): string {
  try {
    return readFileSync(resolve(cwd, path), "utf8");
  } catch (cause) {
    throw new RelayError("CONFIG_INVALID", path, `error reading configuration file: ${path}`, {
      cause,
    });
  }
}
