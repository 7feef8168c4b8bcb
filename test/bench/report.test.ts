import assert from "node:assert/strict";
import { test } from "node:test";
import { isReached, ratiosOf, reachedOf, tableOf } from "./report.ts";
import { scenarios } from "./scenario-list.ts";
import { type Figures, median } from "./scenarios.ts";

function figures(perSecond: number, cpuMs: number | null = null): Figures {
  const rounds = [perSecond - 1, perSecond, perSecond + 1];
  return { messages: 10, perSecond, cpuMs, peakMegabytes: 50, flushMs: null, rounds };
}

const MEASURED = { relayd: figures(3000, 0.5), postfix: figures(1000, 1), limit: figures(6000) };

test("ratiosOf() divides relayd's figures by those of everybody else", () => {
  assert.deepEqual(ratiosOf(MEASURED), {
    postfix: { rate: 3, cpu: 0.5 },
    limit: { rate: 0.5, cpu: null },
  });
});

test("reachedOf() wants at least the rate, at most the CPU, and says nothing of who is absent", () => {
  const goals = [
    { peer: "postfix", figure: "rate", ratio: 3 },
    { peer: "postfix", figure: "rate", ratio: 3.1 },
    { peer: "postfix", figure: "cpu", ratio: 0.5 },
    { peer: "postfix", figure: "cpu", ratio: 0.25 },
    { peer: "emailrelay", figure: "rate", ratio: 8 },
  ] as const;
  const reached = reachedOf(goals, MEASURED).map((one) => one.reached);
  assert.deepEqual(reached, [true, false, true, false, null]);
});

test("tableOf() has a line for each, with relayd's ratio, the goal and whether it is reached", () => {
  const [scenario] = scenarios(false).filter((one) => one.name === "end to end, 1 kB, 10 sessions");
  assert.ok(scenario !== undefined);
  const [name, ...lines] = tableOf(scenario, MEASURED).split("\n");
  assert.equal(name, scenario.name);
  assert.match(lines[0] ?? "", /^ {2}relayd +3000 +2999 - 3001 +0\.50 +50$/);
  assert.match(
    lines[1] ?? "",
    /^ {2}postfix +1000 +999 - 1001 +1\.00 +50 +3\.00 +>= 3: yes +0\.50 +<= 0\.25: NO$/,
  );
  assert.match(lines[2] ?? "", /^ {2}limit +6000 +5999 - 6001 +50 +0\.50$/);
});

test("isReached() of a finding goes by its bound", () => {
  const finding = { name: "x", value: 5, unit: "MB" };
  assert.equal(isReached({ ...finding, goal: { atMost: 5 } }), true);
  assert.equal(isReached({ ...finding, goal: { atMost: 4 } }), false);
  assert.equal(isReached({ ...finding, goal: { atLeast: 6 } }), false);
  assert.equal(isReached({ ...finding, goal: null }), null);
});

test("median() of an even number is between the two in the middle, and leaves out what is not known", () => {
  assert.equal(median([9, 1, 3, 2]), 2.5);
  assert.equal(median([9, null, 3, 2]), 3);
  assert.equal(median([null]), null);
});

test("scenarios() have names of their own, and the quick ones are among the full ones or smaller", () => {
  for (const quick of [true, false]) {
    const names = scenarios(quick).map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  }
  assert.ok(scenarios(true).length < scenarios(false).length);
});
