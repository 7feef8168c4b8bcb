/** relayd with 50,000 messages waiting, beside relayd with 1,000: one has no use for the other's time. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { listingsDuring } from "./listings.ts";
import { openSink, type Sink, send } from "./load.ts";
import { type RelayProgram, startRelayd } from "./mail-programs.ts";
import { usageOf } from "./processes.ts";
import type { Finding } from "./report.ts";
import { flush, median } from "./scenarios.ts";
import { memoryNeeded, warmMemory } from "./warm-memory.ts";

export const BACKLOG = "relayd with 50000 messages waiting";

const MANY = 50_000;
const FEW = 1000;
/** In each round, to those that wait. */
const MORE = 4000;
const ROUNDS = 5;
/** Compiles the code before anything is measured, in both of them. */
const WARM_UP = 5000;
/** Of the drain whose listings are counted: being watched makes relayd slow. */
const WATCHED = 5000;
const REST_MS = 3000;
const WAITED_MS = 2000;

/** One relayd with its sink. */
class Side {
  readonly #directory: string;
  readonly #sink: Sink;
  readonly #signal: AbortSignal;
  readonly program: RelayProgram;

  constructor(
    program: RelayProgram,
    given: { directory: string; sink: Sink; signal: AbortSignal },
  ) {
    this.program = program;
    this.#directory = given.directory;
    this.#sink = given.sink;
    this.#signal = given.signal;
  }

  async warmUp(): Promise<void> {
    await this.take(WARM_UP);
    await this.drain();
  }

  /** Messages a second. */
  async take(messages: number): Promise<number> {
    const load = { messages, sessions: 10, bytes: 1024, reuse: true };
    // A queue that grows is given new memory, one that was emptied uses its own again.
    warmMemory(this.#directory, memoryNeeded(load));
    const tookMs = await send(this.program.port, load, this.#signal);
    await flush(this.#directory);
    return (messages / tookMs) * 1000;
  }

  /** Messages a second, of the first 1,000 and of all. */
  async drain(): Promise<{ first: number; all: number }> {
    const messages = this.program.waiting();
    const before = this.#sink.received;
    const started = performance.now();
    await this.program.release();
    await this.#sink.reaches(before + FEW, this.#signal);
    const first = (FEW / (performance.now() - started)) * 1000;
    await this.#sink.reaches(before + messages, this.#signal);
    const all = (messages / (performance.now() - started)) * 1000;
    await flush(this.#directory);
    const left = this.program.waiting();
    if (left > 0) throw new Error(`${left} of ${messages} messages still wait`);
    return { first, all };
  }
}

export async function measureBacklog(
  directory: string,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  using sink = await openSink();
  const given = { directory: join(directory, "many"), sink, signal };
  mkdirSync(given.directory);
  await using first = await start(given);
  const warm = new Side(first, given);
  await warm.warmUp();
  const inOneGo = await warm.take(MANY);
  const rounds = await compare(warm, join(directory, "few"), signal);
  const drained = await warm.drain();
  await warm.take(MANY);
  await first.end();
  await using second = await start(given);
  const untilOpen = usageOf(second.pid).cpuMs / 1000;
  await sleep(REST_MS, undefined, { signal });
  const atRest = usageOf(second.pid).cpuMs / 1000;
  const many = new Side(second, given);
  const whileTaking = await listingsDuring(second.pid, async () => await many.take(FEW));
  const restarted = await many.drain();
  await many.take(WATCHED);
  const whileDraining = await listingsDuring(second.pid, async () => await many.drain());
  const peak = usageOf(second.pid).peakMegabytes;
  return [
    plain("intake of these 50000, in one go", inOneGo, "a second"),
    plain("intake with 1000 waiting", rounds.few, "a second"),
    plain("intake with 50000 waiting", rounds.many, "a second"),
    { ...plain("ratio", rounds.many / rounds.few, ""), goal: { atLeast: 0.9 } },
    plain("drain of 1000", rounds.drained, "a second"),
    plain("drain of these 50000", drained.all, "a second"),
    { ...plain("ratio", drained.all / rounds.drained, ""), goal: { atLeast: 0.9 } },
    plain("drain, the first 1000 of these 50000", drained.first, "a second"),
    plain("drain of 50000 after a restart", restarted.all, "a second"),
    { ...plain("start: CPU until the port is open", untilOpen, "s"), goal: { atMost: 3 } },
    plain("start: CPU 3 s later", atRest, "s"),
    {
      ...plain(`listings of a directory while ${FEW} more come in`, whileTaking, ""),
      goal: { atMost: FEW / 10 },
    },
    {
      ...plain(`listings of a directory while ${WATCHED} drain`, whileDraining, ""),
      goal: { atMost: WATCHED / 10 },
    },
    plain("peak", peak, "MB"),
  ];
}

/** Medians, in turn with another relayd that has 1,000 waiting. */
async function compare(
  many: Side,
  directory: string,
  signal: AbortSignal,
): Promise<{ few: number; many: number; drained: number }> {
  using sink = await openSink();
  const given = { directory, sink, signal };
  mkdirSync(directory);
  await using program = await start(given);
  const few = new Side(program, given);
  await few.warmUp();
  const [takenFew, takenMany, drained] = [[], [], []] as [number[], number[], number[]];
  for (let round = 0; round < ROUNDS; round++) {
    const sides: [Side, number[]][] = [
      [few, takenFew],
      [many, takenMany],
    ];
    // Neither is always the first: what one leaves behind in the disk's cache meets the other.
    for (const [side, taken] of round % 2 === 0 ? sides : sides.reverse()) {
      // Both right after other mail: a relayd at rest syncs its first messages one by one.
      await side.take(FEW);
      taken.push(await side.take(MORE));
    }
    await few.drain();
    await few.take(FEW);
    // Mail that waits: what has come within the last second relayd has in its own memory still.
    await sleep(WAITED_MS, undefined, { signal });
    drained.push((await few.drain()).all);
  }
  const middle = (found: readonly number[]) => median(found) ?? 0;
  return { few: middle(takenFew), many: middle(takenMany), drained: middle(drained) };
}

async function start({ directory, sink }: { directory: string; sink: Sink }) {
  const place = { directory, sink: sink.port, connections: null, relaydOptions: [] };
  return await startRelayd({ ...place, mode: "hold" });
}

function plain(name: string, value: number, unit: string): Finding {
  return { name, value, unit, goal: null };
}
