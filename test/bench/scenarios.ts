/** How each kind of scenario is measured: one program after the other in every round. */
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { until } from "../support/relayd.ts";
import { type Load, openSink, type Sink, send } from "./load.ts";
import type { MailProgram, StartProgram } from "./mail-programs.ts";
import { usageOf } from "./processes.ts";
import type { Scenario } from "./scenario-list.ts";
import { syncedWrites } from "./synced-writes.ts";
import { memoryNeeded, warmMemory } from "./warm-memory.ts";

/** One program in one scenario; medians. */
export interface Figures {
  /** In a round. */
  readonly messages: number;
  readonly perSecond: number;
  /** A message; null for what is no program under test. */
  readonly cpuMs: number | null;
  readonly peakMegabytes: number | null;
  /** Until what was left to do afterwards had reached the disk. */
  readonly flushMs: number | null;
  readonly rounds: readonly number[];
}

interface Sample {
  readonly messages: number;
  readonly tookMs: number;
  /** Of all messages. */
  readonly cpuMs: number | null;
  readonly peakMegabytes: number | null;
  readonly flushMs: number | null;
}

interface Runner extends AsyncDisposable {
  readonly name: string;
  round(load: Load, signal: AbortSignal): Promise<Sample>;
}

/** What follows the last reply or delivery is part of the work. */
const AFTERWARDS_MS = 300;
/** A program that would need longer for a round gets fewer messages. */
const ROUND_MS = 15_000;
/** Of the slowest way to a far smarthost. */
const FAR_MESSAGES = 20;
const COMPILED: ReadonlySet<string> = new Set(["postfix", "emailrelay"]);
const COMPILED_WARM_UP = 200;
/** Of messages of 1 MB, which stay on the disk where only intake is measured. */
const LARGE_WARM_UP = 600;
const LARGE_BYTES = 1024 ** 2;

export interface Terms {
  readonly programs: Readonly<Record<string, StartProgram>>;
  /** On the measured disk. */
  readonly directory: string;
  readonly rounds: number;
  /** Messages of a kilobyte or ten that relayd takes before the first round, where rounds are long enough. */
  readonly warmUp: number;
}

/** The raw limits first, then every program; `rounds` after a warm-up, in which they take turns. */
export async function measure(
  scenario: Scenario,
  terms: Terms,
  signal: AbortSignal,
): Promise<Readonly<Record<string, Figures>>> {
  const folder = join(terms.directory, "run");
  mkdirSync(folder, { recursive: true });
  const all: Runner[] = [];
  try {
    all.push(await limit(scenario));
    for (const [name, start] of Object.entries(terms.programs)) {
      const directory = join(folder, name);
      mkdirSync(directory);
      all.push(await open(name, { start, directory, scenario }));
    }
    const limits = {
      "synced writes, 1 at a time": await syncedWrites(folder, 1),
      "synced writes, 32 at a time": await syncedWrites(folder, 32),
    };
    const figures = await inTurns(all, { scenario, terms, signal });
    return { ...figures, ...mapValues(limits, plain) };
  } finally {
    for (const runner of all) await runner[Symbol.asyncDispose]();
  }
}

async function inTurns(
  all: readonly Runner[],
  given: { scenario: Scenario; terms: Terms; signal: AbortSignal },
): Promise<Readonly<Record<string, Figures>>> {
  const { scenario, terms, signal } = given;
  const taking = all.map((runner) => ({ runner, samples: [] as Sample[], most: 0 }));
  for (const one of taking) {
    const messages = warmUpOf(one.runner.name, scenario, terms);
    const { tookMs } = await one.runner.round({ ...scenario, messages }, signal);
    one.most = Math.max(50, Math.floor((messages / tookMs) * ROUND_MS));
  }
  for (let round = 0; round < terms.rounds; round++) {
    for (const { runner, samples, most } of taking) {
      const load = { ...scenario, messages: Math.min(scenario.messages, most) };
      warmMemory(terms.directory, memoryNeeded(load));
      samples.push(await runner.round(load, signal));
    }
  }
  return Object.fromEntries(taking.map(({ runner, samples }) => [runner.name, figuresOf(samples)]));
}

/** Enough for relayd's code to be compiled, whatever the size of a round; the others were compiled before. */
function warmUpOf(name: string, scenario: Scenario, { warmUp }: Terms): number {
  const { messages, bytes, distanceMs } = scenario;
  if (COMPILED.has(name)) return Math.min(COMPILED_WARM_UP, Math.ceil(messages / 2));
  if (bytes >= LARGE_BYTES && messages > 100) return LARGE_WARM_UP;
  return messages <= 500 || distanceMs > 0 ? Math.ceil(messages / 2) : warmUp;
}

function figuresOf(samples: readonly Sample[]): Figures {
  const rounds = samples.map(({ messages, tookMs }) => (messages / tookMs) * 1000);
  return {
    messages: samples[0]?.messages ?? 0,
    perSecond: median(rounds) ?? 0,
    cpuMs: median(samples.map((one) => (one.cpuMs === null ? null : one.cpuMs / one.messages))),
    peakMegabytes: samples.reduce<number | null>(
      (peak, one) => (one.peakMegabytes === null ? peak : Math.max(peak ?? 0, one.peakMegabytes)),
      null,
    ),
    flushMs: median(samples.map((one) => one.flushMs)),
    rounds,
  };
}

/** smtp-source straight into smtp-sink, as many sessions as the programs have: nothing that waits for each reply can be faster. */
async function limit(scenario: Scenario): Promise<Runner> {
  const sink = await openSink(scenario.distanceMs);
  const far = scenario.distanceMs > 0;
  // Far away that is how the most careful client does it: one connection, reply by reply.
  const straight = far ? { sessions: 1, reuse: true } : {};
  return {
    name: far ? "one connection, reply by reply" : "smtp-source to smtp-sink",
    async round(load, signal) {
      const messages = far ? Math.min(FAR_MESSAGES, load.messages) : load.messages;
      const tookMs = await send(sink.port, { ...load, ...straight, messages }, signal);
      return { messages, tookMs, cpuMs: null, peakMegabytes: null, flushMs: null };
    },
    [Symbol.asyncDispose]: async () => await Promise.resolve(sink[Symbol.dispose]()),
  };
}

async function open(
  name: string,
  given: { start: StartProgram; directory: string; scenario: Scenario },
): Promise<Runner> {
  const { start, directory, scenario } = given;
  const { kind, distanceMs, connections, relaydOptions, reuse } = scenario;
  const sink = await openSink(distanceMs);
  const mode = kind !== "end to end" ? "hold" : reuse ? "poll" : "forward";
  const place = { directory, sink: sink.port, mode, connections, relaydOptions } as const;
  const program = await start(place);
  return {
    name,
    async round(load, signal) {
      const { began, tookMs } = await ACTS[kind](program, sink, { load, directory, signal });
      await sleep(AFTERWARDS_MS);
      const { cpuMs, peakMegabytes } = usageOf(program.pid);
      const expected = kind === "intake" ? began.waiting + load.messages : 0;
      await until(
        () => program.waiting() === expected,
        () => `${name} has ${program.waiting()} messages in its queue, expected ${expected}`,
      );
      const sent = kind === "intake" ? 0 : load.messages;
      const received = sink.received - began.received;
      if (received !== sent) throw new Error(`${name} sent ${received} messages, expected ${sent}`);
      const flushMs = await flush(directory);
      const used = { cpuMs: cpuMs - began.cpuMs, peakMegabytes, flushMs };
      return { messages: load.messages, tookMs, ...used };
    },
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      sink[Symbol.dispose]();
    },
  };
}

/** What one program has left to be written must not be written in the turn of the next. */
export async function flush(directory: string): Promise<number> {
  const started = performance.now();
  await promisify(execFile)("sync", ["-f", directory]);
  return performance.now() - started;
}

/** When the clock started. */
interface Began {
  readonly cpuMs: number;
  readonly received: number;
  readonly waiting: number;
}

type Act = (
  program: MailProgram,
  sink: Sink,
  given: { load: Load; directory: string; signal: AbortSignal },
) => Promise<{ began: Began; tookMs: number }>;

const ACTS: Readonly<Record<Scenario["kind"], Act>> = {
  intake: async (program, sink, { load, signal }) => {
    const began = begin(program, sink);
    return { began, tookMs: await send(program.port, load, signal) };
  },
  "end to end": async (program, sink, { load, signal }) => {
    const began = begin(program, sink);
    const started = performance.now();
    await send(program.port, load, signal);
    await sink.reaches(began.received + load.messages, signal);
    return { began, tookMs: performance.now() - started };
  },
  drain: async (program, sink, { load, directory, signal }) => {
    await program.hold();
    const received = sink.received;
    await send(program.port, load, signal);
    await program.prepareRelease();
    await flush(directory);
    await sleep(AFTERWARDS_MS);
    const began = begin(program, sink);
    if (began.received !== received || began.waiting !== load.messages) {
      throw new Error(`${began.waiting} of ${load.messages} messages wait to be sent`);
    }
    const started = performance.now();
    await program.release();
    await sink.reaches(received + load.messages, signal);
    return { began, tookMs: performance.now() - started };
  },
};

function begin(program: MailProgram, sink: Sink): Began {
  const [waiting, received] = [program.waiting(), sink.received];
  return { waiting, received, cpuMs: usageOf(program.pid).cpuMs };
}

function plain(perSecond: number): Figures {
  const none = { cpuMs: null, peakMegabytes: null, flushMs: null };
  return { messages: 0, perSecond, ...none, rounds: [perSecond] };
}

function mapValues<A, B>(from: Readonly<Record<string, A>>, by: (value: A) => B) {
  return Object.fromEntries(Object.entries(from).map(([name, value]) => [name, by(value)]));
}

/** Of those that are known; null for none. */
export function median(values: readonly (number | null)[]): number | null {
  const sorted = values.filter((one) => one !== null).sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? null : (low + high) / 2;
}
