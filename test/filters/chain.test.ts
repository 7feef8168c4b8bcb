import assert from "node:assert/strict";
import { test } from "node:test";
import { filterChain } from "../../src/filters/chain.ts";
import { exitFilter } from "../../src/filters/exit.ts";
import { ABANDON, failure, OK } from "../../src/filters/item.ts";
import { aJob, filterTerms, fixedItem, MESSAGE, NEVER } from "../support/filter-terms.ts";

const SPECIAL = { ...OK, special: true };

test("filterChain() stops at the first filter that does not let the message pass", async () => {
  const { terms } = filterTerms();
  const life: string[] = [];
  const items = [fixedItem("a", OK, life), fixedItem("b", ABANDON, life), fixedItem("c", OK, life)];
  const verdict = await filterChain(items, terms).run(aJob.files, NEVER);
  assert.deepEqual(verdict, { kind: "abandon", next: "continue" });
  assert.deepEqual(life, ["run a", "run b"]);
});

test("filterChain() passes a message that all filters pass", async () => {
  const { terms, notes } = filterTerms();
  const items = [exitFilter("0", terms), fixedItem("f", OK)];
  const verdict = await filterChain(items, terms).run(aJob.files, NEVER);
  assert.deepEqual(verdict, { kind: "pass", next: "continue" });
  assert.deepEqual(notes, [`detail filter [exit:0,f]: [${MESSAGE}]: ok response=[]`]);
});

test("filterChain() refuses with 452 where the filter named no code", async () => {
  const { terms, notes } = filterTerms();
  const verdict = await filterChain([exitFilter("1", terms)], terms).run(aJob.files, NEVER);
  assert.deepEqual(verdict, {
    kind: "reject",
    next: "continue",
    reply: { code: 452, text: "rejected" },
    detail: "exit:1",
  });
  assert.deepEqual(notes, [
    `detail filter [exit:1]: [${MESSAGE}]: failed response=[rejected] reason=[exit:1]`,
    "info rejected by filter: [exit:1]",
  ]);
});

test("filterChain() refuses with the code and even the empty text of the filter", async () => {
  const { terms } = filterTerms();
  const items = [fixedItem("f", failure("", "", 421))];
  const verdict = await filterChain(items, terms).run(aJob.files, NEVER);
  assert.equal(verdict.kind, "reject");
  assert.deepEqual(verdict.kind === "reject" && verdict.reply, { code: 421, text: "" });
});

test("filterChain() asks for a rescan at storing, and for a stop at sending", async () => {
  const storing = filterTerms();
  const items = [fixedItem("f", SPECIAL)];
  const first = await filterChain(items, storing.terms).run(aJob.files, NEVER);
  assert.deepEqual(first, { kind: "pass", next: "rescan" });
  assert.deepEqual(storing.notes, [`detail filter [f]: [${MESSAGE}]: ok +rescan response=[]`]);

  const sending = filterTerms({ role: "client-filter" });
  const second = await filterChain(items, sending.terms).run(aJob.files, NEVER);
  assert.deepEqual(second, { kind: "pass", next: "stop" });
  assert.deepEqual(sending.notes, [
    `detail client-filter [f]: [${MESSAGE}]: ok +break response=[]`,
  ]);
});

test("filterChain() keeps what an earlier filter asked when a later one refuses", async () => {
  const { terms, notes } = filterTerms();
  const items = [fixedItem("a", SPECIAL), fixedItem("b", failure("no", "why", 550))];
  const verdict = await filterChain(items, terms).run(aJob.files, NEVER);
  assert.equal(verdict.next, "rescan");
  assert.deepEqual(notes, [
    `detail filter [a,b]: [${MESSAGE}]: failed +rescan response=[no] reason=[why]`,
    "info rejected by filter: [why]",
  ]);
});

test("filterChain() says nothing of a lone exit:0", async () => {
  const { terms, notes } = filterTerms();
  await filterChain([exitFilter("0", terms)], terms).run(aJob.files, NEVER);
  assert.deepEqual(notes, []);
});

test("filterChain() starts no further filter once it is aborted", async () => {
  const { terms } = filterTerms();
  const life: string[] = [];
  const abort = new AbortController();
  const ender = {
    ...fixedItem("a", OK),
    run: async () => {
      abort.abort(new Error("the end"));
      return OK;
    },
  };
  const items = [ender, fixedItem("b", OK, life)];
  await assert.rejects(filterChain(items, terms).run(aJob.files, abort.signal), /the end/);
  assert.deepEqual(life, []);
});

test("filterChain() disposes of all its filters, even if one fails to", async () => {
  const { terms } = filterTerms();
  const life: string[] = [];
  const broken = {
    ...fixedItem("a", OK, life),
    [Symbol.asyncDispose]: async () => {
      throw new Error("broken");
    },
  };
  await filterChain([broken, fixedItem("b", OK, life)], terms)[Symbol.asyncDispose]();
  assert.deepEqual(life, ["dispose b"]);
});
