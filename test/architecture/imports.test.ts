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
  filters: ["core", "io"],
  verifiers: ["core", "io"],
  policy: ["core", "io"],
  pop: ["core", "io", "auth"],
  admin: ["core", "io"],
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

/** What a file imports: statements at the start of a line, and import("...") anywhere. */
function imported(text: string): string[] {
  const statements = text.matchAll(/^(?:import|export)\b(?:[^;"]*\bfrom)?\s*"([^"]+)"/gm);
  const calls = text.matchAll(/\bimport\(\s*"([^"]+)"/g);
  return [...statements, ...calls].map(([, target = ""]) => target);
}

test("every room imports only the rooms below it", () => {
  const offences: string[] = [];
  for (const { entry, text } of sources) {
    const from = room(entry);
    if (["", "bin", "instance"].includes(from)) continue;
    for (const target of imported(text).filter((one) => one.startsWith("."))) {
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
    .filter(({ text }) => imported(text).some((target) => !target.startsWith(".")))
    .map(({ entry }) => entry);
  assert.deepEqual(offences, []);
});

test("every npm package has one owner file", () => {
  const offences: string[] = [];
  for (const { entry, text } of sources) {
    for (const name of imported(text).filter((target) => !/^(?:\.|node:)/.test(target))) {
      const owner = OWNERS[name.split("/")[0] ?? ""];
      if (owner === undefined || !owner.test(entry)) offences.push(`${entry} -> ${name}`);
    }
  }
  assert.deepEqual(offences, []);
});
