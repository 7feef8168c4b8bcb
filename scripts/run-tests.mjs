// Runs the compiled test-suite: every dist/test/<room>/*.test.js, or those of the rooms named on
// the command line (`npm test -- spool smtp`).
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tests = join(root, "dist", "test");
const rooms = process.argv.slice(2);
const files = readdirSync(tests, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && (rooms.length === 0 || rooms.includes(entry.name)))
  .flatMap((entry) => readdirSync(join(tests, entry.name)).map((name) => join(tests, entry.name, name)))
  .filter((file) => file.endsWith(".test.js"))
  // A compiled test whose source was removed is no test any more.
  .filter((file) => existsSync(file.replace(`${root}/dist/`, `${root}/`).replace(/js$/, "ts")))
  .sort();
if (files.length === 0) {
  console.error(`relayd: no tests found for: ${rooms.join(" ") || "any room"}`);
  process.exit(1);
}
const done = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", "--test-reporter=spec", ...files],
  { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
);
process.exit(done.status ?? 1);
