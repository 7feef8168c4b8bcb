import assert from "node:assert/strict";
import { test } from "node:test";
import type { FilterRole } from "../../src/core/filter.ts";
import { exitFilter, sleepFilter } from "../../src/filters/exit.ts";
import { meaningOf } from "../../src/filters/exit-codes.ts";
import { OK } from "../../src/filters/item.ts";
import { aJob, filterTerms, NEVER } from "../support/filter-terms.ts";
import { sleeplessClock } from "../support/programs.ts";

function meanings(role: FilterRole, codes: readonly number[]): string[] {
  return codes.map((code) => {
    const { verdict, special } = meaningOf(code, role);
    return `${code} ${verdict}${special ? "+" : ""}`;
  });
}

test("meaningOf() follows the table of exit codes for a server filter", () => {
  assert.deepEqual(meanings("filter", [0, 1, 2, 99, 100, 101, 102, 103, 104, 105, 106, 137, 255]), [
    "0 ok",
    "1 fail",
    "2 fail",
    "99 fail",
    "100 abandon",
    "101 ok",
    "102 abandon+",
    "103 ok+",
    "104 fail+",
    "105 fail",
    "106 fail",
    "137 fail",
    "255 fail",
  ]);
});

test("meaningOf() follows the table of exit codes for client and routing filters", () => {
  const expected = [
    "0 ok",
    "1 fail",
    "99 fail",
    "100 abandon",
    "101 ok",
    "102 ok+",
    "103 ok",
    "104 abandon+",
    "105 fail+",
    "106 fail",
    "255 fail",
  ];
  const codes = [0, 1, 99, 100, 101, 102, 103, 104, 105, 106, 255];
  assert.deepEqual(meanings("client-filter", codes), expected);
  assert.deepEqual(meanings("routing-filter", codes), expected);
});

test("exitFilter() refuses with its own name as the reason", async () => {
  const { terms } = filterTerms();
  const filter = exitFilter("4", terms);
  assert.equal(filter.id, "exit:4");
  assert.deepEqual(await filter.run(aJob, NEVER), {
    verdict: "fail",
    special: false,
    response: "rejected",
    code: 0,
    reason: "exit:4",
  });
});

test("exitFilter() says nothing about a message that passes or is abandoned", async () => {
  const { terms } = filterTerms();
  assert.deepEqual(await exitFilter("0", terms).run(aJob, NEVER), OK);
  const abandoned = await exitFilter("102", terms).run(aJob, NEVER);
  assert.deepEqual(abandoned, { ...OK, verdict: "abandon", special: true });
});

test("exitFilter() and sleepFilter() refuse what is no number", () => {
  const { terms } = filterTerms();
  for (const bad of ["", "x", "-1", "1x", "1.5", "99999999999"]) {
    const expected = (kind: string) => ({
      code: "CONFIG_INVALID",
      message: `invalid value for ${kind}: "${bad}"`,
    });
    assert.throws(() => exitFilter(bad, terms), expected("exit"));
    assert.throws(() => sleepFilter(bad, terms), expected("sleepms"));
  }
});

test("sleepFilter() waits as long as it says and lets the message pass", async () => {
  const { clock, slept } = sleeplessClock();
  const { terms } = filterTerms({ clock });
  assert.deepEqual(await sleepFilter("250", terms).run(aJob, NEVER), OK);
  assert.deepEqual(slept, [250]);
});

test("sleepFilter() waits no longer than filters may take", async () => {
  const { clock, slept } = sleeplessClock();
  const { terms } = filterTerms({ clock, timeoutMs: 1000 });
  const result = await sleepFilter("5000", terms).run(aJob, NEVER);
  assert.deepEqual([result.verdict, result.response, result.reason], ["fail", "error", "timeout"]);
  assert.deepEqual(slept, [1000]);
});
