/**
 * The long forms of the fault tests: `npm run test:faults [rounds] [first seed]`. Prints what was
 * done and found; the exit code is 1 unless nothing was lost, altered or forwarded again without a reason.
 */
import { type Account, crashRound, KINDS } from "../support/crash-round.ts";

interface Sum {
  rounds: number;
  messages: number;
  kills: number;
  lost: number;
  altered: number;
  duplicated: number;
  unexplained: number;
  left: number;
  broken: number;
}

/** Rounds at a time. */
const LANES = 2;

async function main(rounds: number, firstSeed: number): Promise<number> {
  const sum: Sum = {
    ...{ rounds: 0, messages: 0, kills: 0, lost: 0, altered: 0 },
    ...{ duplicated: 0, unexplained: 0, left: 0, broken: 0 },
  };
  let next = firstSeed;
  const lane = async () => {
    while (next < firstSeed + rounds) {
      const seed = next;
      next += 1;
      await one(seed, sum);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const { kills, ...found } = sum;
  const lines = { ...found, "faults injected": kills };
  for (const [what, count] of Object.entries(lines)) print(`${what.padEnd(16)} ${count}`);
  return sum.lost + sum.altered + sum.unexplained + sum.broken === 0 && sum.rounds > 0 ? 0 : 1;
}

async function one(seed: number, sum: Sum): Promise<void> {
  const kind = KINDS[seed % KINDS.length] ?? "daemon";
  try {
    const account = await crashRound(seed, kind);
    add(sum, account);
    const { lost, altered, unexplained, left } = account;
    if (lost.length + altered.length + unexplained.length + left.length > 0) {
      print(`seed ${seed}, ${kind}: ${JSON.stringify({ lost, altered, unexplained, left })}`);
    }
  } catch (error) {
    sum.broken += 1;
    print(`seed ${seed}, ${kind}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (sum.rounds % 20 === 0) print(`${sum.rounds} rounds, ${sum.messages} messages ...`);
}

function add(sum: Sum, account: Account): void {
  sum.rounds += 1;
  sum.messages += account.messages;
  sum.kills += account.kills;
  sum.lost += account.lost.length;
  sum.altered += account.altered.length;
  sum.duplicated += account.duplicated;
  sum.unexplained += account.unexplained.length;
  sum.left += account.left.length;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const [, , rounds = "200", seed = "1000"] = process.argv;
process.exitCode = await main(Number(rounds), Number(seed));
