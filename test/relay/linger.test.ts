import assert from "node:assert/strict";
import { test } from "node:test";
import { Linger } from "../../src/relay/linger.ts";

function lingering() {
  const time = { ms: 1000 };
  const rings: (() => void)[] = [];
  const linger = new Linger({
    now: () => 0,
    monotonic: () => time.ms,
    sleep: async (ms, signal) => {
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve());
        rings.push(() => {
          time.ms += ms;
          resolve();
        });
      });
    },
  });
  return { time, rings, linger };
}

const turn = async () => await new Promise(setImmediate);

test("Linger is for runs that follow each other closely, many times", () => {
  const { time, linger } = lingering();
  const next = (gapMs: number) => {
    time.ms += gapMs;
    const lingers = linger.began();
    linger.ended();
    return lingers;
  };
  assert.deepEqual([0, 499, 499, 499, 499].map(next), [false, false, false, false, false]);
  assert.equal(next(499), true);
  assert.equal(next(1), true);
  assert.equal(next(500), false);
  assert.equal(next(1), false);
});

test("Linger waits until there is more, not for every wake", async () => {
  const { linger, rings } = lingering();
  let more = false;
  let over = false;
  const waiting = linger.wait(() => more, new AbortController().signal).then(() => (over = true));
  linger.wake();
  await turn();
  assert.equal(over, false);
  more = true;
  linger.wake();
  await waiting;
  assert.equal(rings.length, 1, "one timer");
});

test("Linger waits no longer than its time, and ends with the signal", async () => {
  const { linger, rings } = lingering();
  const never = () => false;
  const waiting = linger.wait(never, new AbortController().signal);
  rings[0]?.();
  await waiting;
  const end = new AbortController();
  const other = linger.wait(never, end.signal);
  end.abort();
  await other;
});
