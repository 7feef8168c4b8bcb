/**
 * relayd beside its peers on one disk in one run: `npm run bench`. `--quick` takes two minutes,
 * `--only=intake` picks scenarios by their name, `--rounds=N`, `--json=FILE`. docs/performance.md
 * tells what the figures mean.
 */
import { writeFileSync } from "node:fs";
import { arch, cpus, release } from "node:os";
import { parseArgs } from "node:util";
import { BACKLOG, measureBacklog } from "./backlog.ts";
import { openBenchDisk } from "./bench-disk.ts";
import { mailPrograms, startBareNode } from "./mail-programs.ts";
import { MEMORY, measureMemory } from "./memory.ts";
import {
  type Finding,
  findingText,
  HEAD,
  isReached,
  ratiosOf,
  reachedOf,
  tableOf,
} from "./report.ts";
import { type Scenario, scenarios } from "./scenario-list.ts";
import { measure } from "./scenarios.ts";

const MINUTE_MS = 60_000;
const QUICK_BYTES = 1.5 * 1024 ** 3;
/** Until relayd's rate no longer rises; a quick run has no time for that. */
const WARM_UP = 15_000;
const QUICK_WARM_UP = 5000;

interface Job {
  readonly name: string;
  readonly mostMs: number;
  /** What of it goes into the JSON file. */
  run(directory: string, signal: AbortSignal): Promise<object>;
}

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    rounds: { type: "string" },
    json: { type: "string" },
  },
});
const { quick, only } = values;
const rounds = Number(values.rounds ?? (quick ? 2 : 5));
const stopped = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => stopped.abort(new Error(`stopped by ${signal}`)));
}
await main();

async function main(): Promise<void> {
  using disk = openBenchDisk(quick ? QUICK_BYTES : undefined);
  say(`${cpus().length} cores, Linux ${release()} ${arch()}, Node ${process.version}`);
  say(`disk: ${disk.kind}`);
  say(`medians of ${rounds} rounds; CPU ms: a message; MB: peak; then what relayd reaches of it`);
  say(HEAD);
  const results: object[] = [];
  for (const job of jobs().filter(({ name }) => name.includes(only))) {
    if (stopped.signal.aborted) break;
    results.push({ name: job.name, ...(await attempt(job, disk.directory)) });
  }
  const report = { date: new Date().toISOString(), disk: disk.kind, rounds, results };
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify(report, null, 1)}\n`);
  }
}

/** What fails or takes too long is told, and the rest is measured. */
async function attempt(job: Job, directory: string): Promise<object> {
  const late = AbortSignal.timeout(job.mostMs);
  try {
    return await job.run(directory, AbortSignal.any([stopped.signal, late]));
  } catch (error) {
    process.exitCode = 1;
    const why = late.aborted
      ? `it took more than ${job.mostMs / MINUTE_MS} minutes`
      : String(error);
    say(`${job.name}: not measured: ${why}`);
    return { failed: why };
  }
}

function jobs(): readonly Job[] {
  const each = scenarios(quick).map(jobOf);
  if (quick) return each;
  return [
    ...each,
    { name: BACKLOG, mostMs: 5 * MINUTE_MS, run: listed(BACKLOG, measureBacklog) },
    { name: MEMORY, mostMs: MINUTE_MS, run: listed(MEMORY, measureMemory) },
  ];
}

function jobOf(scenario: Scenario): Job {
  return {
    name: scenario.name,
    mostMs: (quick ? 1 : 4) * MINUTE_MS,
    async run(directory, signal) {
      const programs = programsFor(scenario);
      const terms = {
        ...{ programs, directory, rounds: Math.min(rounds, scenario.rounds) },
        warmUp: quick ? QUICK_WARM_UP : WARM_UP,
      };
      const measured = await measure(scenario, terms, signal);
      say(tableOf(scenario, measured));
      const goals = reachedOf(scenario.goals, measured);
      return { programs: measured, ratios: ratiosOf(measured), goals };
    },
  };
}

function programsFor({ relaydOptions, kind, bytes }: Scenario): ReturnType<typeof mailPrograms> {
  const all = mailPrograms();
  const { relayd } = all;
  if (relaydOptions.length > 0 && relayd !== undefined) return { relayd };
  // Small mail end to end is what Node itself limits.
  const isLimit = kind === "end to end" && bytes === 1024 && !quick;
  return isLimit ? { ...all, "Node with the same calls alone": startBareNode } : all;
}

function listed(
  name: string,
  find: (directory: string, signal: AbortSignal) => Promise<readonly Finding[]>,
): Job["run"] {
  return async (directory, signal) => {
    const findings = await find(directory, signal);
    say([name, ...findings.map(findingText)].join("\n"));
    return { findings: findings.map((one) => ({ ...one, reached: isReached(one) })) };
  };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
