/**
 * Start-up, as a ratio to `node -e 0` measured in the same run: `relayd --as-client` on an empty spool
 * and `relayd-submit` of a small message. Prints a table; `--json` prints one object.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const ROUNDS = 15;

interface Job {
  readonly name: string;
  readonly args: readonly string[];
  readonly input: string;
}

const spool = mkdtempSync(join(tmpdir(), "relayd-bench-"));
const bin = (name: string) => join(import.meta.dirname, "../../src/bin", `${name}.js`);
const jobs: readonly Job[] = [
  { name: "node -e 0", args: ["-e", "0"], input: "" },
  {
    name: "relayd --as-client, empty spool",
    args: [bin("relayd"), "--as-client=127.0.0.1:9", `--spool-dir=${spool}`, "--user=root"],
    input: "",
  },
  {
    name: "relayd-submit, small message",
    args: [bin("relayd-submit"), `--spool-dir=${spool}`, "--from=a@example.com", "b@example.com"],
    input: "Subject: bench\n\nhello\n",
  },
];

function milliseconds(job: Job): number {
  // A spool that fills up would measure the directory listing of the other job.
  rmSync(spool, { recursive: true, force: true });
  spawnSync("mkdir", [spool]);
  const started = performance.now();
  const { status, stderr } = spawnSync(process.execPath, job.args, { input: job.input });
  const took = performance.now() - started;
  if (status !== 0) throw new Error(`${job.name}: exit ${status}: ${stderr.toString()}`);
  return took;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

const times = jobs.map((): number[] => []);
for (const job of jobs) milliseconds(job); // Warms the page cache.
for (let round = 0; round < ROUNDS; round++) {
  for (const [index, job] of jobs.entries()) times[index]?.push(milliseconds(job));
}
rmSync(spool, { recursive: true, force: true });

const base = median(times[0] ?? []);
const rows = jobs.map((job, index) => {
  const ms = median(times[index] ?? []);
  return {
    name: job.name,
    ms: Math.round(ms * 10) / 10,
    ratio: Math.round((ms / base) * 100) / 100,
  };
});
const { values } = parseArgs({ options: { json: { type: "boolean" } }, strict: false });
if (values.json === true) process.stdout.write(`${JSON.stringify({ rounds: ROUNDS, rows })}\n`);
else {
  process.stdout.write(`start-up, medians of ${ROUNDS} rounds\n`);
  for (const { name, ms, ratio } of rows) {
    process.stdout.write(
      `${name.padEnd(34)} ${ms.toFixed(1).padStart(8)} ms ${ratio.toFixed(2).padStart(7)}\n`,
    );
  }
}
