import assert from "node:assert/strict";
import { test } from "node:test";
import { filterFaults, openFilter } from "../../src/filters/open.ts";
import { parseFilterSpec } from "../../src/filters/spec.ts";
import { aJob, filterTerms, MESSAGE, NEVER } from "../support/filter-terms.ts";
import { tempPrograms } from "../support/programs.ts";

test("parseFilterSpec() takes programs, with and without file:, and prefixes", () => {
  assert.deepEqual(parseFilterSpec("/a/b, file:/c d,exit:1,copy:,net:[::1]:25"), [
    { kind: "program", path: "/a/b" },
    { kind: "program", path: "/c d" },
    { kind: "exit", params: "1" },
    { kind: "copy", params: "" },
    { kind: "net", params: "[::1]:25" },
  ]);
});

test("parseFilterSpec() takes a path with a colon for a path", () => {
  assert.deepEqual(parseFilterSpec("/opt/a:b"), [{ kind: "program", path: "/opt/a:b" }]);
});

test("filterFaults() says what is wrong, in a few words", () => {
  const faults = (value: string) => filterFaults(value, "filter").join("; ");
  assert.equal(faults("exit:0,/bin/true,sleepms:10,msgid:,copy:"), "");
  assert.equal(faults("foo:bar"), "unknown type: foo:");
  assert.equal(faults("EXIT:1"), "unknown type: EXIT:");
  assert.equal(faults("bin/x"), 'not an absolute path: "bin/x"');
  assert.equal(faults("file:x"), 'not an absolute path: "x"');
  assert.equal(faults("file:"), "missing program name");
  assert.equal(faults("/bin/true,"), "missing program name");
  assert.equal(faults(""), "missing program name");
  assert.equal(faults("exit:no"), 'invalid value for exit: "no"');
  assert.notEqual(faults("net:"), "");
  assert.notEqual(faults("spam:nowhere"), "");
  assert.notEqual(faults("copy:rubbish"), "");
});

test("openFilter() chains all values, in their order, for every session", async () => {
  using programs = tempPrograms();
  const { terms, notes } = filterTerms();
  const open = openFilter(["exit:0", programs.script("f", "exit 103")], terms);
  for (const _ of ["one", "two"]) {
    await using filter = open();
    assert.deepEqual(await filter.run(aJob.files, NEVER), { kind: "pass", next: "rescan" });
  }
  const line = `detail filter [exit:0,f]: [${MESSAGE}]: ok +rescan response=[]`;
  assert.deepEqual(
    notes.filter((note) => note === line),
    [line, line],
  );
});

test("openFilter() refuses a faulty value at once", () => {
  const { terms } = filterTerms();
  assert.throws(() => openFilter(["exit:0", "nope:"], terms), { code: "CONFIG_INVALID" });
});
