import assert from "node:assert/strict";
import { test } from "node:test";
import { configFile, instanceOf, read } from "../support/configuration.ts";

const reportsOf = (...argv: string[]) => {
  const { reports, listener } = instanceOf(argv);
  return { reports, dsn: listener?.dsn };
};

test("nobody is told anything, and DSN is not offered, unless --bounce says so", () => {
  const off = { reports: null, dsn: false };
  assert.deepEqual(reportsOf(), off);
  assert.deepEqual(reportsOf("--bounce=no"), off);
  assert.deepEqual(reportsOf("--delay-warning=1h"), off);
});

test("--bounce reports failures, and delays after four hours", () => {
  const on = { reports: { delayWarningSeconds: 14_400 }, dsn: true };
  assert.deepEqual(reportsOf("--bounce"), on);
  assert.deepEqual(reportsOf("--bounce=yes"), on);
  assert.deepEqual(reportsOf(configFile("bounce yes\n")), on);
  assert.deepEqual(reportsOf(configFile("bounce = yes\n")), on);
});

test("--delay-warning is a time, and 0 turns it off", () => {
  const after = (time: string) =>
    reportsOf("--bounce", `--delay-warning=${time}`).reports?.delayWarningSeconds;
  assert.equal(after("30m"), 1800);
  assert.equal(after("90"), 90);
  assert.equal(after("0"), 0);
});

test("--bounce and --delay-warning take nothing else", () => {
  for (const option of ["--bounce=maybe", "--delay-warning=soon"]) {
    assert.equal(read([option]).kind, "errors", option);
  }
});
