// The properties of test/fuzz for a long time, with new inputs every time: `npm run test:fuzz -- 600` takes
// about 600 seconds in all. Prints what it did; a property that does not hold is shown with its shortest
// input and the seed that leads there.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const seconds = Number(process.argv[2] ?? "300");
if (!(seconds > 0)) {
  console.error("usage: npm run test:fuzz -- <seconds>");
  process.exit(2);
}
const folder = join(root, "dist", "test", "fuzz");
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".test.js"))
  .map((name) => join(folder, name));
const count = files.reduce((sum, file) => sum + readFileSync(file, "utf8").split(/^property\(/m).length - 1, 0);
const each = Math.max(1, Math.round(seconds / count));
console.log(`${count} properties, ${each} s each`);
const done = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", "--test-concurrency=1", "--test-reporter=spec", ...files],
  { cwd: root, stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, FUZZ_SECONDS: String(each) } },
);
process.exit(done.status ?? 1);
