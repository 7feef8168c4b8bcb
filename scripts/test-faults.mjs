// The long forms of the fault tests: `npm run test:faults [rounds] [first seed] [power cuts]`. Mail is
// pumped into a relayd over several connections; relayd, its forwarder or the smarthost is killed at
// random moments, or the power of its disk is cut, and every message that got a 250 is accounted for.
// Then the faults of the storage, once more. Exits non-zero unless nothing was lost and nothing altered.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, "dist", "test", "faults");
const files = readdirSync(folder)
  // Those are the short forms of what comes first.
  .filter((name) => name.endsWith(".test.js") && !/^(?:crash|power)\./.test(name))
  .map((name) => join(folder, name));
const runner = ["--test", "--test-reporter=spec", "--test-timeout=120000"];
const steps = [
  [join(folder, "long.js"), ...process.argv.slice(2)],
  [...runner, ...files],
];

/** How long the programs may take to end. */
const GRACE_MS = 5000;

/** Everything that a step starts is in one group, so that nothing survives when it is told to end. */
async function run(args) {
  const child = spawn(process.execPath, ["--enable-source-maps", ...args], {
    ...{ cwd: root, detached: true, stdio: ["ignore", "inherit", "inherit"] },
  });
  const told = [];
  const end = (signal) => {
    told.push(signal);
    killGroup(child.pid, "SIGTERM");
    setTimeout(() => killGroup(child.pid, "SIGKILL"), GRACE_MS).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, end);
  const code = await new Promise((resolve) => child.once("exit", resolve));
  killGroup(child.pid, "SIGKILL");
  if (told.length > 0) process.exit(130);
  return code ?? 1;
}

function killGroup(group, signal) {
  try {
    process.kill(-group, signal);
  } catch {
    // Nobody is left.
  }
}

for (const step of steps) {
  const code = await run(step);
  if (code !== 0) process.exit(code);
}
