import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/io/clock.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

const BEAT_MS = 10_000;

/** The system's time, but ten seconds pass only when they are told to. */
function beatingClock(): { clock: Clock; beat: () => Promise<void> } {
  let beaten: () => void = () => undefined;
  const sleep = async (ms: number, signal: AbortSignal) => {
    if (ms !== BEAT_MS) return await systemClock.sleep(ms, signal);
    await new Promise<void>((resolve) => {
      beaten = resolve;
      signal.addEventListener("abort", () => resolve());
    });
  };
  const beat = async () => {
    beaten();
    await setImmediate();
  };
  return { clock: { ...systemClock, sleep }, beat };
}

/** A process that leases a message and then waits to be killed; resolves to the message's id. */
async function holder(
  t: TestContext,
  spool: TempSpool,
): Promise<{ held: string; child: ChildProcess }> {
  const program = join(import.meta.dirname, "../support/store-program.js");
  const child = spawn(process.execPath, [program, "hold", spool.directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return { held: line.split(" ")[0] ?? "", child };
}

test("ready() finds what a killed process held, without a poll, within ten seconds", async (t) => {
  await using spool = await tempSpool();
  const { clock, beat } = beatingClock();
  const { held, child } = await holder(t, spool);
  const store = await spool.open({ clock });
  child.kill("SIGKILL");
  await once(child, "exit");
  // Nobody looks for the dead at each run.
  assert.deepEqual(await store.ready(), []);
  await beat();
  assert.deepEqual(await store.ready(), [held]);
  assert.deepEqual(spool.events.filter(({ kind }) => kind === "spool.recovered").length, 2);
});

test("ready() leaves a living process what it holds, however long", async (t) => {
  await using spool = await tempSpool();
  const { clock, beat } = beatingClock();
  const { held } = await holder(t, spool);
  const store = await spool.open({ clock });
  for (let beats = 0; beats < 10; beats++) {
    await beat();
    assert.deepEqual(await store.ready(), []);
  }
  assert.ok(spool.names().includes(`${held}.envelope.busy`));
});
