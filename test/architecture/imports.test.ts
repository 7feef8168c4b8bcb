import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, sep } from "node:path";
import { test } from "node:test";

/** room -> rooms it may import from. Files directly under src, and bin/, wire everything and may import all. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  io: ["core"],
  relay: ["core"],
  spool: ["core", "io"],
  smtp: ["core", "io", "auth"],
  auth: ["core", "io"],
  config: ["core", "io"],
  observe: ["core", "io"],
  compose: ["core", "io"],
  trial: ["core", "io"],
  submit: ["core", "io", "spool"],
};

/** npm package -> the one file that may import it. */
const OWNERS: Record<string, RegExp> = {
  commander: /^config\/command-line\.ts$/,
  pino: /^observe\/log\.ts$/,
  chokidar: /^spool\/watch\.ts$/,
  "smtp-server": /^trial\/smarthost\.ts$/,
  mailparser: /^(?:observe|trial)\/preview\.ts$/,
  nodemailer: /^compose\//,
};

const root = join(import.meta.dirname, "../../../src");
const room = (file: string): string => (file.includes(sep) ? (file.split(sep)[0] ?? "") : "");
const sources = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((entry) => entry.endsWith(".ts"))
  .map((entry) => ({ entry, text: readFileSync(join(root, entry), "utf8") }));

test("every room imports only the rooms below it", () => {
  const offences: string[] = [];
  for (const { entry, text } of sources) {
    const from = room(entry);
    if (from === "" || from === "bin") continue;
    for (const [, target = ""] of text.matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/g)) {
      const to = room(normalize(join(dirname(entry), target)));
      if (to !== from && !(MAY_IMPORT[from] ?? []).includes(to)) {
        offences.push(`${entry} -> ${target}`);
      }
    }
  }
  assert.deepEqual(offences, []);
});

test("core and relay import nothing but core", () => {
  const offences = sources
    .filter(({ entry }) => ["core", "relay"].includes(room(entry)))
    .filter(({ text }) => /(?:from|import)\s*\(?"(?!\.)/.test(text))
    .map(({ entry }) => entry);
  assert.deepEqual(offences, []);
});

test("every npm package has one owner file", () => {
  const offences: string[] = [];
  for (const { entry, text } of sources) {
    for (const [, name = ""] of text.matchAll(/(?:from|import)\s*\(?"((?!\.|node:)[^"]+)"/g)) {
      const owner = OWNERS[name.split("/")[0] ?? ""];
      if (owner === undefined || !owner.test(entry)) offences.push(`${entry} -> ${name}`);
    }
  }
  assert.deepEqual(offences, []);
});
