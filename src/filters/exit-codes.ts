/** What a filter's exit code means on either side of the queue: the one table of them. Pure. Source: R9.1. */
import type { FilterRole } from "../core/filter.ts";
import type { FilterResult } from "./item.ts";

type Meaning = Pick<FilterResult, "verdict" | "special">;

const PASS: Meaning = { verdict: "ok", special: false };
const FAIL: Meaning = { verdict: "fail", special: false };
const ABANDON: Meaning = { verdict: "abandon", special: false };

/** The code: at storing, and at sending or choosing a smarthost. `special` is rescan there, break here. */
const TABLE: ReadonlyMap<number, readonly [storing: Meaning, sending: Meaning]> = new Map([
  [0, [PASS, PASS]],
  [100, [ABANDON, ABANDON]],
  [101, [PASS, PASS]],
  [102, [special(ABANDON), special(PASS)]],
  [103, [special(PASS), PASS]],
  [104, [special(FAIL), special(ABANDON)]],
  [105, [FAIL, special(FAIL)]],
]);

/** Every code that the table does not name is a failure. */
export function meaningOf(exitCode: number, role: FilterRole): Meaning {
  const row = TABLE.get(exitCode);
  if (row === undefined) return FAIL;
  return role === "filter" ? row[0] : row[1];
}

function special({ verdict }: Meaning): Meaning {
  return { verdict, special: true };
}
