import assert from "node:assert/strict";
import { test } from "node:test";
import type { RelayEvent } from "../../src/core/events.ts";
import type { RunResult } from "../../src/relay/run.ts";
import { Scheduler } from "../../src/relay/scheduler.ts";

const fine: RunResult = { tried: 1, error: null };

/** A scheduler whose runs end when the test says so. */
function scheduled() {
  const events: RelayEvent[] = [];
  const runs: ((result: RunResult) => void)[] = [];
  const scheduler = new Scheduler({
    journal: { tell: (event) => events.push(event), detail: false },
    run: async () => await new Promise<RunResult>((resolve) => runs.push(resolve)),
  });
  const kinds = () => events.map((event) => event.kind);
  return { scheduler, events, runs, kinds };
}

const settled = async () => await new Promise((resolve) => setImmediate(resolve));

test("request() starts one run and queues one more at the most", async () => {
  const { scheduler, runs, kinds } = scheduled();
  scheduler.request("startup");
  scheduler.request("admin");
  scheduler.request("client disconnect");
  assert.equal(runs.length, 1);
  runs[0]?.(fine);
  await settled();
  assert.equal(runs.length, 2);
  runs[1]?.(fine);
  await settled();
  assert.equal(runs.length, 2);
  assert.equal(kinds().filter((kind) => kind === "forward.busy").length, 2);
});

test("stop() waits for the run under way and lets no other follow", async () => {
  const { scheduler, runs } = scheduled();
  scheduler.request("startup");
  scheduler.request("poll");
  const stopped = scheduler.stop();
  runs[0]?.(fine);
  await stopped;
  await settled();
  scheduler.request("admin");
  assert.equal(runs.length, 1);
});

test("runOnce() turns a fault into a result", async () => {
  const scheduler = new Scheduler({
    journal: { tell: () => undefined, detail: false },
    run: async () => {
      throw new Error("no such directory");
    },
  });
  assert.deepEqual(await scheduler.runOnce("startup"), { tried: 0, error: "no such directory" });
});
