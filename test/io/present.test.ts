import assert from "node:assert/strict";
import { test } from "node:test";
import { type Place, Present } from "../../src/io/present.ts";

test("Present has whoever has entered and not left, whatever the order", () => {
  const present = new Present<number>();
  const places = new Map<number, Place<number>>();
  let moved = 0;
  let random = 1;
  for (let step = 1; step <= 2000; step += 1) {
    random = (random * 48_271) % 2_147_483_647;
    const one = random % 50;
    const place = places.get(one);
    if (place === undefined) places.set(one, present.enter(one));
    else {
      const last = place.at === present.size - 1;
      present.leave(place);
      places.delete(one);
      if (!last) moved += 1;
    }
    assert.equal(present.size, places.size);
    assert.deepEqual([...present].sort(byNumber), [...places.keys()].sort(byNumber));
  }
  // Each place was moved many times.
  assert.ok(moved > 500, `${moved} moves`);
});

test("a place that was left is left for good, whoever has it now", () => {
  const present = new Present<string>();
  const first = present.enter("first");
  present.enter("second");
  present.leave(first);
  present.leave(first);
  assert.deepEqual([...present], ["second"]);
});

test("who enters or leaves while all are looked at disturbs nobody", () => {
  const present = new Present<string>();
  const places = ["a", "b", "c"].map((one) => present.enter(one));
  const seen: string[] = [];
  for (const one of present) {
    seen.push(one);
    for (const place of places) present.leave(place);
    present.enter("d");
  }
  assert.deepEqual(seen, ["a", "b", "c"]);
  assert.deepEqual([...present], ["d", "d", "d"]);
});

function byNumber(a: number, b: number): number {
  return a - b;
}
