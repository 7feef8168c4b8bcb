import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, constants, mkdirSync, openSync, readSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { EVENTS, logBench, note, QUIET, START } from "../support/log-bench.ts";

test("the log file replaces standard error, is made 0660 and appended to", async () => {
  using at = logBench();
  const before = process.umask(0o007);
  const log = at.open({ file: join(at.directory, "log") });
  process.umask(before);
  log.journal("").tell(note("one"));
  await log.close();
  const again = at.open({ file: join(at.directory, "log") });
  again.journal("").tell(note("two", "error"));
  await again.close();
  assert.deepEqual(at.lines("log"), ["relayd: info: one", "relayd: error: two"]);
  assert.deepEqual(at.lines(), []);
  assert.equal(statSync(join(at.directory, "log")).mode & 0o777, 0o660);
});

test("openLog() throws for a log file that cannot be opened", () => {
  using at = logBench();
  const file = join(at.directory, "none", "log");
  assert.throws(() => at.open({ file }), { message: `cannot open log file: ${file}` });
});

test("the log file follows %d and %h in local time", async () => {
  using at = logBench();
  const log = at.open({ file: join(at.directory, "log-%d-%h") });
  const journal = log.journal("");
  journal.tell(note("early"));
  at.clock.ms = START + 6 * 60_000;
  journal.tell(note("same hour"));
  at.clock.ms = START + 7 * 60_000;
  journal.tell(note("next hour"));
  at.clock.ms = START + 24 * 3_600_000;
  journal.tell(note("next day"));
  await log.close();
  assert.deepEqual(at.lines("log-20261121-01"), ["relayd: info: early", "relayd: info: same hour"]);
  assert.deepEqual(at.lines("log-20261121-02"), ["relayd: info: next hour"]);
  assert.deepEqual(at.lines("log-20261122-01"), ["relayd: info: next day"]);
});

test("reopen() makes a new file after a rename, and keeps the old one where that fails", async () => {
  using at = logBench();
  const file = join(at.directory, "log");
  const log = at.open({ file });
  const journal = log.journal("");
  journal.tell(note("one"));
  renameSync(file, `${file}.1`);
  log.reopen();
  journal.tell(note("two"));
  renameSync(file, `${file}.2`);
  mkdirSync(file);
  log.reopen();
  journal.tell(note("three"));
  await log.close();
  assert.deepEqual(at.lines("log.1"), ["relayd: info: one"]);
  assert.deepEqual(at.lines("log.2"), [
    "relayd: info: two",
    `relayd: error: cannot open log file: ${file}: going on with the present one`,
    "relayd: info: three",
  ]);
});

test("a full disk and a closed descriptor never throw into who tells", async () => {
  using at = logBench();
  const full = at.open({ file: "/dev/full" });
  full.journal("").tell(note("one"));
  full.journal("").tell(note("two"));
  await full.close();
  at.open({}, 999_999).journal("").tell(note("nobody hears"));
});

test("a reader that does not read loses lines, is told how many, and gets whole lines only", async () => {
  using at = logBench();
  const fifo = join(at.directory, "fifo");
  assert.equal(spawnSync("mkfifo", [fifo]).status, 0);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const log = at.open({ file: fifo });
  const journal = log.journal("");
  for (let i = 0; i < 200; i += 1) journal.tell(note(`${i} ${"x".repeat(900)}`));
  const text = await written(reader);
  journal.tell(note("after"));
  const rest = await written(reader);
  closeSync(reader);
  await log.close();
  const lines = (text + rest).split("\n").filter((line) => line !== "");
  const whole = lines.filter((line) => /^relayd: info: \d+ x{900}$/.test(line)).length;
  const reports = lines.flatMap(
    (line) => /^relayd: warning: (\d+) log lines lost$/.exec(line) ?? [],
  );
  const lost = reports.filter((_, i) => i % 2 === 1).reduce((sum, count) => sum + Number(count), 0);
  assert.equal(whole + lost, 200);
  assert.ok(lost > 0);
  assert.equal(lines.at(-1), "relayd: info: after");
});

test("lines that are told one after the other are written in their order, with one call", async () => {
  using at = logBench();
  const file = join(at.directory, "fifo");
  assert.equal(spawnSync("mkfifo", [file]).status, 0);
  const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const log = at.open({ file });
  const journal = log.journal("");
  for (let i = 0; i < 20; i += 1) journal.tell(note(`${i}`));
  assert.equal(readAll(reader), "");
  const wanted = Array.from({ length: 20 }, (_, i) => `relayd: info: ${i}\n`).join("");
  assert.equal(await written(reader), wanted);
  closeSync(reader);
  await log.close();
});

test("what a client is promised, and whatever goes wrong, is in the log file at once", async () => {
  using at = logBench();
  const log = at.open({ file: join(at.directory, "log") });
  const journal = log.journal("");
  journal.tell(note("before"));
  assert.deepEqual(at.lines("log"), []);
  for (const event of EVENTS.filter(({ kind }) => kind === "message.accepted")) journal.tell(event);
  assert.deepEqual(
    at.lines("log").map((line) => line.slice(0, 22)),
    ["relayd: info: before", "relayd: info: accepted"],
  );
  journal.tell(note("trouble", "warning"));
  assert.equal(at.lines("log").at(-1), "relayd: warning: trouble");
  journal.tell(note("more trouble", "error"));
  assert.equal(at.lines("log").at(-1), "relayd: error: more trouble");
  await log.close();
});

test("the last lines before process.exit() are in the log file", () => {
  using at = logBench();
  const file = join(at.directory, "log");
  const module = join(import.meta.dirname, "../../src/observe/targets.js");
  const clock = join(import.meta.dirname, "../../src/io/clock.js");
  const config = JSON.stringify({ ...QUIET, file });
  const program = `
    const { openLog } = await import(${JSON.stringify(module)});
    const { systemClock: clock } = await import(${JSON.stringify(clock)});
    const log = openLog({ config: ${config}, program: "relayd", pid: 1, clock, group: null });
    log.journal("").tell({ kind: "note", level: "info", detail: false, text: "last words" });
    process.exit(1);
  `;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program]);
  assert.equal(status, 1, stderr.toString());
  assert.deepEqual(at.lines("log"), ["relayd: info: last words"]);
});

/** What comes next. */
async function written(fd: number): Promise<string> {
  for (;;) {
    const text = readAll(fd);
    if (text !== "") return text;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function readAll(fd: number): string {
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(65536);
    try {
      const size = readSync(fd, chunk);
      if (size === 0) break;
      chunks.push(chunk.subarray(0, size));
    } catch {
      break; // EAGAIN: nothing left.
    }
  }
  return Buffer.concat(chunks).toString();
}
