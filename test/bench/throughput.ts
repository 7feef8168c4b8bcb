/**
 * relayd beside its peers on one disk in one run: `npm run bench`. `--quick` takes two minutes,
 * `--only=intake` picks scenarios by their name, `--rounds=N`, `--json=FILE`. docs/performance.md
 * tells what the figures mean.
 */
import { closeSync, fdatasyncSync, openSync, writeFileSync, writeSync } from "node:fs";
import { arch, cpus, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openBenchDisk } from "./bench-disk.ts";
import { mailPrograms } from "./mail-programs.ts";
import { type Figures, type Kind, measure, type Scenario } from "./scenarios.ts";

const SIZES: readonly [name: string, bytes: number][] = [
  ["1 kB", 1024],
  ["10 kB", 10 * 1024],
  ["1 MB", 1024 ** 2],
];

interface Row {
  readonly name: string;
  readonly programs: Readonly<Record<string, Figures>>;
}

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    rounds: { type: "string" },
    json: { type: "string" },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
await main();

async function main(): Promise<void> {
  using disk = openBenchDisk();
  say(`${cpus().length} cores, Linux ${release()} ${arch()}, Node ${process.version}`);
  say(`disk: ${disk.kind}`);
  const syncs = syncedWrites(disk.directory);
  say(`synced writes of 4 kB, one after the other: ${syncs.toFixed(0)} a second`);
  say(`medians of ${rounds} rounds: messages a second (CPU ms a message, peak MB)\n`);
  const rows: Row[] = [];
  for (const [name, scenario] of scenarios(values.quick)) {
    if (!name.includes(values.only)) continue;
    const programs = await measure(scenario, {
      programs: mailPrograms(),
      directory: disk.directory,
      rounds,
      warmUp: scenario.messages > 500 ? 2000 : Math.ceil(scenario.messages / 2),
    });
    rows.push({ name, programs });
    say(lineOf(name, programs));
  }
  const report = { date: new Date().toISOString(), disk: disk.kind, rounds, syncs, rows };
  const json = JSON.stringify({ ...report, rows: rows.map(withRatios) }, null, 1);
  if (values.json !== undefined) writeFileSync(values.json, `${json}\n`);
}

function scenarios(quick: boolean): readonly (readonly [string, Scenario])[] {
  const all = [...loads(quick)];
  return all.map((one) => {
    const size = SIZES.find(([, bytes]) => bytes === one.bytes)?.[0] ?? "";
    const reuse = one.reuse ? ", reused connections" : "";
    const how =
      one.kind === "drain"
        ? `${one.messages} waiting`
        : `${one.sessions} session${one.sessions === 1 ? "" : "s"}${reuse}`;
    return [`${one.kind}, ${size}, ${how}`, one];
  });
}

/** A round takes a second or more where it can: shorter ones measure how warm the program is. */
function* loads(quick: boolean): Generator<Scenario> {
  const scale = quick ? 1 : 2;
  const [small, big] = [1024, 1024 ** 2];
  for (const kind of ["intake", "end to end"] satisfies Kind[]) {
    for (const sessions of quick ? [10] : [1, 10, 20, 50]) {
      const messages = (sessions === 1 ? 600 : 1500) * scale;
      yield { kind, messages, sessions, bytes: small, reuse: false };
    }
    if (!quick || kind === "intake") {
      yield { kind, messages: 1500 * scale, sessions: 10, bytes: small, reuse: true };
    }
    if (!quick) yield { kind, messages: 2000, sessions: 10, bytes: 10 * 1024, reuse: false };
    yield { kind, messages: 60 * scale, sessions: 10, bytes: big, reuse: false };
  }
  yield { kind: "drain", messages: 2000, sessions: 20, bytes: small, reuse: true };
  if (quick) return;
  yield { kind: "drain", messages: 10_000, sessions: 20, bytes: small, reuse: true };
  yield { kind: "drain", messages: 2000, sessions: 20, bytes: 10 * 1024, reuse: true };
  yield { kind: "drain", messages: 100, sessions: 10, bytes: big, reuse: true };
}

function syncedWrites(directory: string): number {
  const fd = openSync(join(directory, "syncs"), "w");
  const block = Buffer.alloc(4096);
  const started = performance.now();
  let count = 0;
  for (; performance.now() - started < 1000; count++) {
    writeSync(fd, block);
    fdatasyncSync(fd);
  }
  closeSync(fd);
  return count / ((performance.now() - started) / 1000);
}

function lineOf(name: string, programs: Row["programs"]): string {
  const cells = Object.entries(programs).map(([program, figures]) => {
    const rate = figures.perSecond.toFixed(0).padStart(6);
    if (program === "limit") return `limit${rate}`;
    const cpu = figures.cpuMs.toFixed(2);
    return `${program}${rate} (${cpu}, ${figures.peakMegabytes.toFixed(0)})`;
  });
  const ratios = Object.entries(ratiosOf(programs)).map(
    ([peer, ratio]) => `${ratio.rate.toFixed(2)}x ${peer}`,
  );
  return `${name.padEnd(46)} ${[...cells, ...ratios].join("   ")}`;
}

function withRatios(row: Row): Row & { readonly ratios: ReturnType<typeof ratiosOf> } {
  return { ...row, ratios: ratiosOf(row.programs) };
}

/** relayd's figures divided by the others'. */
function ratiosOf(programs: Row["programs"]): Record<string, { rate: number; cpu: number | null }> {
  const { relayd, ...others } = programs;
  if (relayd === undefined) return {};
  const ratios: Record<string, { rate: number; cpu: number | null }> = {};
  for (const [name, other] of Object.entries(others)) {
    const cpu = other.cpuMs === 0 ? null : relayd.cpuMs / other.cpuMs;
    ratios[name] = { rate: relayd.perSecond / other.perSecond, cpu };
  }
  return ratios;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
