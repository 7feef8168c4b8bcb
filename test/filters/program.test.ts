import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { FilterTerms } from "../../src/filters/item.ts";
import { OK } from "../../src/filters/item.ts";
import { programFilter } from "../../src/filters/program.ts";
import { parseResponse } from "../../src/filters/response.ts";
import { aJob, filterTerms, MESSAGE, NEVER } from "../support/filter-terms.ts";
import { eventually, isAlive, tempPrograms } from "../support/programs.ts";

/** Runs a script with these lines as a filter called "f". */
async function filtered(lines: readonly string[], changes: Partial<FilterTerms> = {}) {
  using programs = tempPrograms();
  const { terms, notes } = filterTerms(changes);
  const result = await programFilter(programs.script("f", ...lines), terms).run(aJob, NEVER);
  return { result, notes };
}

test("programFilter() gives a program the paths of content and envelope", async () => {
  using programs = tempPrograms();
  const seen = join(programs.directory, "seen");
  const path = programs.script("look", `echo "$#:$1:$2" > ${seen}`);
  const { terms } = filterTerms();
  const filter = programFilter(path, terms);
  assert.equal(filter.id, "look");
  assert.deepEqual(await filter.run(aJob, NEVER), OK);
  assert.equal(readFileSync(seen, "utf8"), `2:${aJob.files.content}:${aJob.files.envelope}\n`);
});

test("programFilter() refuses with the program's own words, and tells the operator", async () => {
  using programs = tempPrograms();
  const path = programs.script(
    "f",
    "echo hello",
    "echo '<<550 no thanks>>'",
    "echo '[[spam]]'",
    "exit 1",
  );
  const { terms, notes } = filterTerms();
  const result = await programFilter(path, terms).run(aJob, NEVER);
  assert.deepEqual(result, {
    verdict: "fail",
    special: false,
    response: "no thanks",
    code: 550,
    reason: "spam",
  });
  assert.deepEqual(notes, [
    `detail filter [f]: [${MESSAGE}]: running ${path}`,
    "warning filter [f] failed: exit code 1: [no thanks](550)",
  ]);
});

test("programFilter() warns of every exit code but 0, 101 and 103", async () => {
  const warned: number[] = [];
  for (const code of [0, 1, 100, 101, 102, 103, 104, 105, 200]) {
    const { notes } = await filtered([`exit ${code}`]);
    const text = `warning filter [f] failed: exit code ${code}: [rejected]`;
    if (notes.includes(text)) warned.push(code);
  }
  assert.deepEqual(warned, [1, 100, 102, 104, 105, 200]);
});

test("programFilter() reads the code as the side it is on", async () => {
  const storing = await filtered(["exit 104"]);
  assert.deepEqual([storing.result.verdict, storing.result.special], ["fail", true]);
  const sending = await filtered(["exit 104"], { role: "client-filter" });
  assert.deepEqual(sending.result, { ...OK, verdict: "abandon", special: true });
  assert.equal(sending.notes[1], "warning client-filter [f] failed: exit code 104: [rejected]");
});

test("programFilter() takes what a passing program prints for no response", async () => {
  const { result } = await filtered(["echo '<<550 x>>'"]);
  assert.deepEqual(result, OK);
});

test("programFilter() fails a message whose filter is killed by a signal", async () => {
  const { result, notes } = await filtered(["kill -KILL $$"]);
  assert.deepEqual([result.verdict, result.response], ["fail", "rejected"]);
  assert.equal(notes[1], "warning filter [f] failed: exit code 137: [rejected]");
});

test("programFilter() kills a hanging program with its children: error, timeout", async () => {
  using programs = tempPrograms();
  const pids = join(programs.directory, "pids");
  const path = programs.script("f", "trap '' TERM", "sleep 1000 &", `echo $$ $! > ${pids}`, "wait");
  const { terms, notes } = filterTerms({ timeoutMs: 500 });
  const result = await programFilter(path, terms).run(aJob, NEVER);
  assert.deepEqual(
    [result.verdict, result.response, result.code, result.reason],
    ["fail", "error", 0, "timeout"],
  );
  assert.equal(notes[1], "warning filter [f] timed out after 0.5s");
  for (const pid of readFileSync(pids, "utf8").trim().split(" ")) {
    await eventually(() => !isAlive(Number(pid)), `the end of ${pid}`);
  }
});

test("programFilter() reads the response before megabytes of other output", async () => {
  const lines = ["echo '<<too chatty>>'", "yes | head -c 5000000", "exit 9"];
  const { result } = await filtered(lines);
  assert.deepEqual([result.response, result.reason], ["too chatty", "too chatty"]);
});

test("programFilter() does not wait for what a program leaves in the background", async () => {
  const lines = ["echo '<<busy>>'", "sleep 1000 &", 'echo "[[$!]]"', "exit 1"];
  const { result } = await filtered(lines);
  assert.deepEqual([result.response, isAlive(Number(result.reason))], ["busy", true]);
  process.kill(Number(result.reason), "SIGKILL");
});

test("programFilter() refuses when there is no such program", async () => {
  const { terms, notes } = filterTerms();
  const result = await programFilter("/no/such/filter", terms).run(aJob, NEVER);
  assert.deepEqual(
    [result.verdict, result.response, result.code, result.reason],
    ["fail", "rejected", 0, "filter exec error: No such file or directory"],
  );
  assert.equal(notes[1], "warning filter [filter] failed: exit code 127: [rejected]");
});

test("programFilter() ends with the reason of an abort, and kills the program", async () => {
  using programs = tempPrograms();
  const pid = join(programs.directory, "pid");
  const path = programs.script(
    "f",
    `echo $$ > ${pid}.new`,
    `mv ${pid}.new ${pid}`,
    "exec sleep 1000",
  );
  const { terms } = filterTerms();
  const abort = new AbortController();
  const running = programFilter(path, terms).run(aJob, abort.signal);
  await eventually(() => existsSync(pid), "the start of the program");
  abort.abort(new Error("the end"));
  await assert.rejects(running, /the end/);
  assert.equal(isAlive(Number(readFileSync(pid, "utf8"))), false);
});

test("parseResponse() finds marked lines only where they start a line", () => {
  const said = (output: string) => Object.values(parseResponse(output)).join("|");
  assert.equal(said("<<421>>"), "|421|");
  assert.equal(said("<<399 x>>"), "399 x|0|399 x");
  assert.equal(said(" <<x>>"), "rejected|0|rejected");
  assert.equal(said(""), "rejected|0|rejected");
  assert.equal(said("<<>>\n<<why>>"), "rejected|0|why");
  assert.equal(said("<<>>"), "rejected|0|rejected");
  assert.equal(said("noise\r<<a>>\r\n[[b]] tail\n<<c>>"), "a|0|b");
  assert.equal(said("[[451 4.7.1 later]]"), "4.7.1 later|451|4.7.1 later");
  assert.equal(said("<<a>>b>>"), "a|0|a");
  assert.equal(said("<<a]]\n[[b>>\n<<c>>"), "c|0|c");
  assert.equal(said("<<4211 x>>"), "4211 x|0|4211 x");
  assert.equal(said("<<600 x>>"), "600 x|0|600 x");
  assert.equal(said("<<550x>>"), "550x|0|550x");
});
