// Set-up for `npm start` and `npm test`: installs what package-lock.json names, then compiles.
// Does nothing that was done before: a second run costs well under a second of installing.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, "node_modules", ".relayd-lock");

function run(command, args) {
  const done = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (done.status !== 0) {
    console.error(`relayd: set-up failed at: ${command} ${args.join(" ")}`);
    process.exit(done.status ?? 1);
  }
}

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`relayd: needs Node 20.19 or later, this is ${process.version}`);
  process.exit(1);
}
const lock = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");
const installed = existsSync(stamp) && readFileSync(stamp, "utf8") === lock;
if (!installed) {
  run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--include=dev"]);
  if (statSync(join(root, "node_modules")).isDirectory()) writeFileSync(stamp, lock);
}
run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc")]);
