import assert from "node:assert/strict";
import { test } from "node:test";
import type { RelayEvent } from "../../src/core/events.ts";
import { Scheduler } from "../../src/relay/scheduler.ts";
import type { RunResult } from "../../src/relay/tally.ts";

const fine: RunResult = { tried: 1, error: null };

/** A scheduler whose runs end when the test says so. */
function scheduled() {
  const events: RelayEvent[] = [];
  const runs: ((result: RunResult) => void)[] = [];
  const [begun, again, idle]: [boolean[], boolean[], number[]] = [[], [], []];
  const scheduler = new Scheduler({
    journal: { tell: (event) => events.push(event), detail: false },
    run: (forced) => {
      begun.push(forced);
      const result = new Promise<RunResult>((resolve) => runs.push(resolve));
      const connectedTo = () => (forced ? "192.0.2.1:25" : "");
      return { result, again: (urgent) => again.push(urgent), connectedTo };
    },
    onIdle: () => idle.push(runs.length),
  });
  const kinds = () => events.map((event) => event.kind);
  return { scheduler, events, runs, kinds, begun, again, idle };
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

test("request() tells which smarthost the run under way has a connection to", () => {
  const { scheduler, events } = scheduled();
  scheduler.request("admin");
  scheduler.request("poll");
  const busy = events.filter((event) => event.kind === "forward.busy");
  assert.deepEqual(
    busy.map(({ connectedTo }) => connectedTo),
    ["192.0.2.1:25"],
  );
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
    run: () => ({
      result: Promise.reject(new Error("no such directory")),
      again: () => undefined,
      connectedTo: () => "",
    }),
    onIdle: () => undefined,
  });
  assert.deepEqual(await scheduler.runOnce("startup"), { tried: 0, error: "no such directory" });
});

test("a request during a run is told to that run too, since new mail need not wait for its end", async () => {
  const { scheduler, runs, begun, again, idle } = scheduled();
  scheduler.request("startup");
  scheduler.request("client disconnect");
  assert.equal(again.length, 1);
  runs[0]?.(fine);
  await settled();
  assert.deepEqual(idle, []);
  runs[1]?.(fine);
  await settled();
  assert.deepEqual(idle, [2]);
  scheduler.request("admin");
  assert.deepEqual(begun, [false, false, true]);
});

test("whoever asks in person is not forgotten because a run is queued already", async () => {
  const { scheduler, runs, begun, again, events } = scheduled();
  scheduler.request("startup");
  scheduler.request("client disconnect");
  scheduler.request("admin");
  scheduler.request("poll");
  assert.deepEqual(again, [false, true, false]);
  runs[0]?.(fine);
  await settled();
  runs[1]?.(fine);
  await settled();
  assert.deepEqual(begun, [false, true]);
  // What is told is as without --retry: the first reason stays.
  const told = events.flatMap((one) => (one.kind === "forward.requested" ? [one.reason] : []));
  assert.deepEqual(told, ["startup", "client disconnect"]);
});

test("a run's error that was told message by message is not told again", async () => {
  const { scheduler, runs, events } = scheduled();
  const notes = () => events.filter(({ kind }) => kind === "note").length;
  scheduler.request("retry");
  runs[0]?.({ tried: 1, error: "away", told: true });
  await settled();
  assert.equal(notes(), 0);
  scheduler.request("retry");
  runs[1]?.({ tried: 1, error: "no descriptors" });
  await settled();
  assert.equal(notes(), 1);
});
