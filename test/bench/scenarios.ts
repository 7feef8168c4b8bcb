/** What is measured: each scenario, one program after the other in every round. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Load, openSink, type Sink, send } from "./load.ts";
import type { MailProgram, Mode, StartProgram } from "./mail-programs.ts";
import { usageOf } from "./processes.ts";

export type Kind = "intake" | "end to end" | "drain";

export interface Scenario extends Load {
  readonly kind: Kind;
}

/** One program in one scenario; medians. */
export interface Figures {
  readonly perSecond: number;
  readonly cpuMs: number;
  readonly peakMegabytes: number;
  readonly rounds: readonly number[];
}

interface Sample {
  readonly perSecond: number;
  readonly cpuMs: number;
}

interface Runner extends AsyncDisposable {
  readonly name: string;
  /** What is measured in one round. */
  round(load: Load): Promise<Sample>;
  readonly peakMegabytes: number;
}

/** `rounds` after a warm-up, in which the programs take turns. */
export async function measure(
  scenario: Scenario,
  given: {
    programs: Readonly<Record<string, StartProgram>>;
    directory: string;
    rounds: number;
    warmUp: number;
  },
): Promise<Readonly<Record<string, Figures>>> {
  const { programs, directory, rounds, warmUp } = given;
  const folder = join(directory, "run");
  mkdirSync(folder, { recursive: true });
  const all: Runner[] = [];
  try {
    if (scenario.kind !== "drain") all.push(await limit());
    for (const [name, start] of Object.entries(programs)) {
      const place = join(folder, name);
      mkdirSync(place);
      all.push(await open(name, { start, directory: place, kind: scenario.kind }));
    }
    return await inTurns(all, scenario, { rounds, warmUp });
  } finally {
    for (const runner of all) await runner[Symbol.asyncDispose]();
  }
}

async function inTurns(
  all: readonly Runner[],
  scenario: Scenario,
  { rounds, warmUp }: { rounds: number; warmUp: number },
): Promise<Readonly<Record<string, Figures>>> {
  const samples = new Map<string, Sample[]>(all.map(({ name }) => [name, []]));
  for (let round = warmUp > 0 ? -1 : 0; round < rounds; round++) {
    const load = round < 0 ? { ...scenario, messages: warmUp } : scenario;
    for (const runner of all) {
      const sample = await runner.round(load);
      if (round >= 0) samples.get(runner.name)?.push(sample);
    }
  }
  return Object.fromEntries(
    all.map((runner) => {
      const found = samples.get(runner.name) ?? [];
      const figures = {
        perSecond: median(found.map((one) => one.perSecond)),
        cpuMs: median(found.map((one) => one.cpuMs)),
        peakMegabytes: runner.peakMegabytes,
        rounds: found.map((one) => one.perSecond),
      };
      return [runner.name, figures];
    }),
  );
}

/** smtp-source straight into smtp-sink: nothing can be faster. */
async function limit(): Promise<Runner> {
  const sink = await openSink();
  return {
    name: "limit",
    peakMegabytes: 0,
    round: async (load) => ({ perSecond: perSecond(load, await send(sink.port, load)), cpuMs: 0 }),
    [Symbol.asyncDispose]: async () => sink[Symbol.dispose](),
  };
}

async function open(
  name: string,
  given: { start: StartProgram; directory: string; kind: Kind },
): Promise<Runner> {
  const sink = await openSink();
  const mode: Mode = given.kind === "end to end" ? "forward" : "hold";
  const program = await given.start({ directory: given.directory, sink: sink.port, mode });
  const act = ACTS[given.kind];
  return {
    name,
    get peakMegabytes() {
      return usageOf(program.pid).peakMegabytes;
    },
    async round(load) {
      const { tookMs, cpuMs } = await act(program, sink, load);
      return { perSecond: perSecond(load, tookMs), cpuMs: cpuMs / load.messages };
    },
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      sink[Symbol.dispose]();
    },
  };
}

type Act = (
  program: MailProgram,
  sink: Sink,
  load: Load,
) => Promise<{ tookMs: number; cpuMs: number }>;

const ACTS: Readonly<Record<Kind, Act>> = {
  intake: async (program, _sink, load) => {
    const before = usageOf(program.pid).cpuMs;
    const expected = program.waiting() + load.messages;
    const tookMs = await send(program.port, load);
    await sleep(300); // What follows the last reply is part of the work.
    const cpuMs = usageOf(program.pid).cpuMs - before;
    if (program.waiting() !== expected) {
      throw new Error(`${program.waiting()} in the queue after ${expected} were accepted`);
    }
    return { tookMs, cpuMs };
  },
  "end to end": async (program, sink, load) => {
    const before = usageOf(program.pid).cpuMs;
    const expected = sink.received + load.messages;
    const started = performance.now();
    await send(program.port, load);
    await sink.reaches(expected);
    const tookMs = performance.now() - started;
    await sleep(300);
    return { tookMs, cpuMs: usageOf(program.pid).cpuMs - before };
  },
  drain: async (program, sink, load) => {
    await program.hold();
    const expected = sink.received + load.messages;
    await send(program.port, load);
    await sleep(500);
    if (sink.received !== expected - load.messages) throw new Error("What was to wait was sent");
    const before = usageOf(program.pid).cpuMs;
    // How long a program takes to notice is not its rate: the clock starts with the first message.
    const first = sink.reaches(expected - load.messages + 1).then(() => performance.now());
    const [started] = await Promise.all([first, program.release()]);
    await sink.reaches(expected);
    const tookMs = performance.now() - started;
    await sleep(300);
    return { tookMs, cpuMs: usageOf(program.pid).cpuMs - before };
  },
};

function perSecond({ messages }: Load, tookMs: number): number {
  return (messages / tookMs) * 1000;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
