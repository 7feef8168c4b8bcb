import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { logPathAt } from "../../src/observe/log-file.ts";
import { runProgram, temporary, temporarySpool } from "../support/relayd.ts";

/** What a start says of these options, and what --check-config says: both end with 1, or both with 0. */
async function bothSay(options: readonly string[]): Promise<{ start: string; check: string }> {
  const given = [`--spool-dir=${temporarySpool()}`, "--user=root", "--domain=relay.test"];
  const all = [...given, "--forward-to=127.0.0.1:1", ...options];
  const check = await runProgram("relayd", ["--check-config", ...all]);
  // With nothing in the queue a run is over at once.
  const start = await runProgram("relayd", ["--no-daemon", "--dont-serve", "--forward", ...all]);
  assert.equal(check.code, start.code, `${check.stdout}${start.stderr}`);
  return { start: start.stderr, check: check.stdout };
}

const VALID = "relayd: the configuration is valid\n";

test("--check-config says what a start says of a --client-auth=plain: that is none", async () => {
  const wrong = await bothSay(["--client-auth=plain:x"]);
  assert.match(wrong.start, /invalid authorisation secret/);
  assert.match(wrong.check, /^--client-auth: invalid authorisation secret: /);
  assert.equal((await bothSay(["--client-auth=plain:bWU=:c2VjcmV0"])).check, VALID);
});

test("--check-config says what a start says of a --pid-file that cannot be written", async () => {
  const directory = temporary();
  const file = join(directory, "file");
  writeFileSync(file, "");
  for (const path of [join(directory, "no/such/relayd.pid"), directory, join(file, "pid")]) {
    const { start, check } = await bothSay([`--pid-file=${path}`]);
    const [said = ""] = /cannot write pid file: .*/.exec(start) ?? [];
    assert.match(said, /^cannot write pid file: /);
    assert.equal(check, `--pid-file: ${said}\n`);
  }
  // A start makes the last directory.
  for (const path of [join(directory, "relayd.pid"), join(directory, "new/relayd.pid"), file]) {
    assert.equal((await bothSay([`--pid-file=${path}`])).check, VALID);
  }
});

test("--check-config looks for the directory that --log-file has today", async () => {
  const directory = temporary();
  const options = ["--log", `--log-file=${directory}/%d/relayd.log`];
  const missing = await bothSay(options);
  const now = Date.now();
  assert.match(
    missing.check,
    /^--log-file: cannot open log file: \S+: no such directory: "[^%]*"\n$/,
  );
  // Midnight may pass on the way.
  for (const day of [now, now + 86_400_000]) mkdirSync(logPathAt(`${directory}/%d`, day));
  assert.equal((await bothSay(options)).check, VALID);
});
