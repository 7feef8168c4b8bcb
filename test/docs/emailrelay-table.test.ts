/** docs/emailrelay.md says for each option of E-MailRelay which test uses it, and that must be true. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { OPTION_SECTIONS } from "../../src/config/options.ts";

const root = join(import.meta.dirname, "../../..");
const page = readFileSync(join(root, "docs/emailrelay.md"), "utf8");

interface Row {
  readonly option: string;
  readonly letter: string;
  readonly file: string;
}

const rows: readonly Row[] = [
  ...page.matchAll(/^\| `--([a-z0-9-]+)` \| (?:`-(.)`)? ?\| `(test\/[^`]+)` \|$/gm),
].map(([, option = "", letter = "", file = ""]) => ({ option, letter, file }));

const options = OPTION_SECTIONS.filter(({ since }) => since === "E-MailRelay 2.6").flatMap(
  (section) => section.options,
);

test("docs/emailrelay.md has each option of E-MailRelay once, in the order of the option table", () => {
  assert.equal(options.length, 72);
  assert.deepEqual(
    rows.map(({ option, letter }) => `--${option} -${letter}`),
    options.map(({ name, letter }) => `--${name} -${letter ?? ""}`),
  );
});

test("the test that docs/emailrelay.md names for an option uses it, by name or letter", () => {
  const idle = rows
    .filter(({ option, letter, file }) => !uses(join(root, file), option, letter))
    .map(({ option, file }) => `--${option}: ${file}`);
  assert.deepEqual(idle, []);
});

test("the tests are through the running program", () => {
  for (const { file } of rows) assert.match(file, /^test\/(daemon|interop)\/[a-z-]+\.test\.ts$/);
});

function uses(path: string, option: string, letter: string): boolean {
  if (!existsSync(path)) return false;
  const text = readFileSync(path, "utf8");
  const name = new RegExp(`["'\`\\s]--${option}(?![a-z0-9-])`);
  return name.test(text) || (letter !== "" && text.includes(`"-${letter}"`));
}
