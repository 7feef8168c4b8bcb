import assert from "node:assert/strict";
import { test } from "node:test";
import { Survey } from "../../src/relay/survey.ts";

const NEVER = new AbortController().signal;

function surveyed() {
  const time = { ms: 0 };
  const slept: number[] = [];
  const survey = new Survey({
    now: () => 0,
    monotonic: () => time.ms,
    sleep: async (ms) => {
      slept.push(ms);
      time.ms += ms;
    },
  });
  const look = (tookMs: number, count = 1000) =>
    survey.look(count, () => {
      time.ms += tookMs;
      return "found";
    });
  return { survey, slept, look };
}

test("Survey lets a short queue be looked over at will", async () => {
  const { survey, slept, look } = surveyed();
  for (let n = 0; n < 10; n++) {
    await survey.turn(NEVER);
    assert.equal(look(0.1), "found");
    // Whatever took so long was not the queue.
    look(300, 999);
  }
  assert.deepEqual(slept, []);
});

test("Survey gives a long queue one part in twenty of the time, and at most two seconds in between", async () => {
  const { survey, slept, look } = surveyed();
  look(10);
  await survey.turn(NEVER);
  look(500);
  await survey.turn(NEVER);
  await survey.turn(NEVER);
  assert.deepEqual(slept, [200, 2000]);
});

test("Survey is due until a look into a long queue has taken its time", () => {
  const { survey, look } = surveyed();
  assert.equal(survey.isDue, true);
  look(0.1);
  assert.equal(survey.isDue, true);
  look(1);
  assert.equal(survey.isDue, false);
});

test("Survey waits no longer when the signal is aborted", async () => {
  const survey = new Survey({
    now: () => 0,
    monotonic: () => performance.now(),
    sleep: async (_ms, signal) => await Promise.reject(signal.reason),
  });
  survey.look(1000, () => {
    const until = performance.now() + 5;
    while (performance.now() < until);
  });
  await survey.turn(AbortSignal.abort());
});
