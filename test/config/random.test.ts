import assert from "node:assert/strict";
import { test } from "node:test";
import { lexConfigFile } from "../../src/config/file.ts";
import { OPTION_SECTIONS } from "../../src/config/options.ts";
import { read } from "../support/configuration.ts";

/** The same numbers in every run (mulberry32). */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const NAMES = OPTION_SECTIONS.flatMap((section) => section.options).map((spec) => spec.name);
const LETTERS = "qydshVvcf1oOmY6UTwprADzWIZMBEFJGaQCSjbK9xXtiulNLgkne-=.\u{1F4E7}";
const VALUES = [
  "",
  "0",
  "25",
  "-1",
  "yes",
  "no",
  "a:1",
  "<none>",
  "@app",
  ",",
  ";",
  "\0",
  "é=%",
  "-",
];

function randomArgument(below: (n: number) => number): string {
  const name = NAMES[below(NAMES.length)] ?? "";
  const value = VALUES[below(VALUES.length)] ?? "";
  const prefix = ["", "", "in-", "x-y-"][below(4)] ?? "";
  const letters = [...LETTERS].filter(() => below(20) === 0).join("");
  const forms = [
    `--${prefix}${name}`,
    `--${prefix}${name}=${value}`,
    `-${letters}`,
    value,
    `--${value}`,
  ];
  return forms[below(forms.length)] ?? "";
}

test("no command line makes the reading throw", () => {
  const below = numbersFrom(20_261_121);
  const kinds = new Set<string>();
  for (let round = 0; round < 3000; round++) {
    const checked = below(3) === 0 ? ["--check-config"] : [];
    const argv = [...checked, ...Array.from({ length: below(6) }, () => randomArgument(below))];
    // Help is slow and always works.
    if (argv.some((word) => /help|^-[^-]*h/.test(word))) continue;
    const reading = read(argv);
    kinds.add(reading.kind);
    if (reading.kind === "errors") assert.ok(reading.lines.length > 0, argv.join(" "));
  }
  assert.deepEqual([...kinds].sort(), ["check", "errors", "run", "version"]);
});

test("no text makes the reading of a file throw, except for a NUL byte", () => {
  const below = numbersFrom(7);
  for (let round = 0; round < 2000; round++) {
    const characters = ' \t="#\r\na-\u2028\uFEFFport';
    const text = Array.from({ length: below(60) }, () => characters[below(characters.length)]).join(
      "",
    );
    for (const item of lexConfigFile(text, "f")) assert.match(item.origin, /^f:\d+$/);
  }
});
