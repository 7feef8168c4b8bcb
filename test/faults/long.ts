/**
 * The long forms of the fault tests: `npm run test:faults [rounds] [first seed] [power cuts]`. Prints
 * what was done and found; the exit code is 1 unless nothing was lost, altered or forwarded again
 * without a reason.
 */
import { describeError } from "../../src/core/errors.ts";
import type { Account } from "../support/accounting.ts";
import { crashRound, KINDS } from "../support/crash-round.ts";
import { cannotMountImage } from "../support/mounted.ts";
import { POWER_KINDS, type PowerKind, powerRound } from "../support/power-round.ts";

interface Found extends Account {
  /** Files or envelopes in the spool after the drain. */
  readonly left: readonly string[];
  readonly faults: number;
  readonly restored?: number;
}

interface Rounds {
  readonly count: number;
  readonly firstSeed: number;
  readonly kindOf: (seed: number) => string;
  readonly round: (seed: number) => Promise<Found>;
}

interface Sum {
  rounds: number;
  messages: number;
  lost: number;
  altered: number;
  duplicated: number;
  unexplained: number;
  left: number;
  restored: number;
  broken: number;
  faults: number;
}

/** Rounds at a time. */
const LANES = 2;
/** Some power cuts come when the journal has been turned over. */
const LONG_LOAD_MS = 12_000;

function crashes(count: number, firstSeed: number): Rounds {
  const kindOf = (seed: number) => KINDS[seed % KINDS.length] ?? "daemon";
  return {
    ...{ count, firstSeed, kindOf },
    round: async (seed) => {
      const { kills, ...account } = await crashRound(seed, kindOf(seed));
      return { ...account, faults: kills };
    },
  };
}

/** All kinds on ext4, then on XFS, where that can be had, and so on. */
function powerCuts(count: number, firstSeed: number): Rounds {
  const kinds = Object.keys(POWER_KINDS) as PowerKind[];
  const noXfs = cannotMountImage("xfs");
  if (noXfs !== false) print(`\non ext4 only: ${noXfs}`);
  const placeOf = (seed: number) =>
    noXfs === false && Math.floor((seed - firstSeed) / kinds.length) % 2 === 1 ? "xfs" : "ext4";
  const powerKindOf = (seed: number) => kinds[seed % kinds.length] ?? "intake";
  return {
    ...{ count, firstSeed },
    kindOf: (seed) => `${powerKindOf(seed)}, ${placeOf(seed)}`,
    round: async (seed) => {
      const loadMs = seed % 4 === 0 ? LONG_LOAD_MS : 1500;
      const terms = { seed, kind: powerKindOf(seed), loadMs, fileSystem: placeOf(seed) } as const;
      const { cuts, ...account } = await powerRound(terms);
      return { ...account, faults: cuts };
    },
  };
}

/** True if nothing went wrong. */
async function all(what: string, rounds: Rounds): Promise<boolean> {
  const sum: Sum = {
    ...{ rounds: 0, messages: 0, lost: 0, altered: 0, duplicated: 0 },
    ...{ unexplained: 0, left: 0, restored: 0, broken: 0, faults: 0 },
  };
  const { count, firstSeed } = rounds;
  let next = firstSeed;
  const lane = async () => {
    while (next < firstSeed + count) {
      next += 1;
      await one(next - 1, rounds, sum);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  print(`\n${what}`);
  const { faults, ...found } = sum;
  const lines = { ...found, "faults injected": faults };
  for (const [name, number] of Object.entries(lines)) print(`${name.padEnd(16)} ${number}`);
  return sum.lost + sum.altered + sum.unexplained + sum.broken === 0 && sum.rounds === count;
}

async function one(seed: number, { kindOf, round }: Rounds, sum: Sum): Promise<void> {
  try {
    const found = await round(seed);
    add(sum, found);
    const { lost, altered, unexplained, left } = found;
    if (lost.length + altered.length + unexplained.length + left.length > 0) {
      const which = JSON.stringify({ lost, altered, unexplained, left });
      print(`seed ${seed}, ${kindOf(seed)}: ${which}`);
    }
  } catch (error) {
    sum.broken += 1;
    print(`seed ${seed}, ${kindOf(seed)}: ${describeError(error)}`);
  }
  if (sum.rounds % 10 === 0) print(`${sum.rounds} rounds, ${sum.messages} messages ...`);
}

function add(sum: Sum, found: Found): void {
  sum.rounds += 1;
  sum.messages += found.messages;
  sum.faults += found.faults;
  sum.lost += found.lost.length;
  sum.altered += found.altered.length;
  sum.duplicated += found.duplicated;
  sum.unexplained += found.unexplained.length;
  sum.left += found.left.length;
  sum.restored += found.restored ?? 0;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(rounds: number, seed: number, cuts: number): Promise<number> {
  const crashed = rounds === 0 || (await all("killed", crashes(rounds, seed)));
  const reason = cuts === 0 ? "not asked for" : cannotMountImage();
  if (reason !== false) print(`\npower cuts: ${reason}`);
  const cut = reason !== false || (await all("power cut", powerCuts(cuts, seed)));
  return crashed && cut ? 0 : 1;
}

const [, , rounds = "200", seed = "1000", cuts = "30"] = process.argv;
process.exitCode = await main(Number(rounds), Number(seed), Number(cuts));
