import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { setMaxListeners } from "node:events";
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { RelayError } from "../../src/core/errors.ts";
import { findAccount } from "../../src/io/identity.ts";
import { isShortage, type ProgramRun, programWarnings, runProgram } from "../../src/io/program.ts";
import { eventually, isAlive, tempPrograms } from "../support/programs.ts";

/** Its last words, when it does not end by itself. */
const LONG_MS = 60_000;

function runOf(path: string, changes: Partial<ProgramRun> = {}): ProgramRun {
  const { signal } = new AbortController();
  return { path, args: [], account: null, timeoutMs: LONG_MS, signal, ...changes };
}

function startError(message: string) {
  return (error: unknown) =>
    error instanceof RelayError && error.code === "PROGRAM_START" && error.message === message;
}

/** The address of a module of `src/io`, for a program of its own. */
function room(file: string): string {
  return pathToFileURL(join(import.meta.dirname, "../../src/io", file)).href;
}

function needsRoot() {
  return process.getuid?.() === 0 ? false : "only root can change user";
}

test("runProgram() tells the exit code and what was printed", async () => {
  using programs = tempPrograms();
  const path = programs.script("one", 'echo "hello $1"', "exit 7");
  const end = await runProgram(runOf(path, { args: ["world"] }));
  assert.deepEqual(end, {
    exitCode: 7,
    killedBy: null,
    output: "hello world\n",
    timedOut: false,
  });
});

test("runProgram() hands over arguments as they are, no shell looks at them", async () => {
  using programs = tempPrograms();
  const path = programs.script("args", 'for a; do printf "[%s]" "$a"; done');
  const args = ["$(id)", "a b", "", "; rm -rf x", "`id`", "é\n*"];
  const { output } = await runProgram(runOf(path, { args }));
  assert.equal(output, args.map((one) => `[${one}]`).join(""));
});

test("runProgram() gives the environment PATH and IFS only", async () => {
  using programs = tempPrograms();
  const path = programs.script("environment", "cat /proc/$$/environ");
  const { output } = await runProgram(runOf(path));
  const variables = output.split("\0").filter((one) => one !== "" && !one.startsWith("NODE_V8_"));
  assert.deepEqual(variables.sort(), ["IFS= \t\n", "PATH=/usr/bin:/bin"]);
});

test("runProgram() starts in / with umask 077, and does not change our own", async () => {
  using programs = tempPrograms();
  const before = process.umask();
  const path = programs.script("where", "pwd", "umask");
  assert.match((await runProgram(runOf(path))).output, /^\/\n0?077\n$/);
  assert.equal(process.umask(), before);
});

test("runProgram() gives no input, no standard error and none of our descriptors", async () => {
  using programs = tempPrograms();
  const secret = programs.file("secret", "x", 0o600);
  const file = openSync(secret, "r");
  const path = programs.script(
    "descriptors",
    "readlink /proc/$$/fd/0 /proc/$$/fd/2",
    "wc -c",
    "echo noise >&2",
    "ls -l /proc/$$/fd",
  );
  const [stdin, stderr, bytes, ...open] = (await runProgram(runOf(path))).output.split("\n");
  closeSync(file);
  assert.deepEqual([stdin, stderr, bytes], ["/dev/null", "/dev/null", "0"]);
  assert.equal(
    open.some((line) => line.endsWith(secret)),
    false,
  );
});

test("runProgram() gives a program a process group of its own", async () => {
  using programs = tempPrograms();
  const path = programs.script("group", "echo $$", "cut -d' ' -f5 /proc/$$/stat");
  const [pid, group] = (await runProgram(runOf(path))).output.split("\n");
  assert.equal(group, pid);
});

test("runProgram() counts a signal as shells do, and names it", async () => {
  using programs = tempPrograms();
  const path = programs.script("crash", "kill -SEGV $$");
  const end = await runProgram(runOf(path));
  assert.deepEqual([end.exitCode, end.killedBy, end.timedOut], [139, "SIGSEGV", false]);
});

test("runProgram() kills a program that hangs, and its children, when the time is up", async () => {
  using programs = tempPrograms();
  const pids = join(programs.directory, "pids");
  const path = programs.script(
    "hang",
    "trap '' TERM INT HUP",
    "sleep 1000 &",
    `echo $$ $! > ${pids}`,
    "echo started",
    "wait",
  );
  const end = await runProgram(runOf(path, { timeoutMs: 500 }));
  assert.deepEqual([end.timedOut, end.killedBy], [true, "SIGKILL"]);
  for (const pid of readFileSync(pids, "utf8").trim().split(" ")) {
    await eventually(() => !isAlive(Number(pid)), `the end of ${pid}`);
  }
});

test("runProgram() kills the program and rejects with the reason when it is aborted", async () => {
  using programs = tempPrograms();
  const pidFile = join(programs.directory, "pid");
  const path = programs.script(
    "hang",
    `echo $$ > ${pidFile}.new`,
    `mv ${pidFile}.new ${pidFile}`,
    "exec sleep 1000",
  );
  const abort = new AbortController();
  const running = runProgram(runOf(path, { signal: abort.signal }));
  await eventually(() => existsSync(pidFile), "the start of the program");
  const gone = new Error("nobody waits any more");
  abort.abort(gone);
  await assert.rejects(running, gone);
  assert.equal(isAlive(Number(readFileSync(pidFile, "utf8"))), false);
});

test("runProgram() starts nothing when it is aborted already", async () => {
  using programs = tempPrograms();
  const mark = join(programs.directory, "ran");
  const path = programs.script("mark", `touch ${mark}`);
  await assert.rejects(
    runProgram(runOf(path, { signal: AbortSignal.abort(new Error("over")) })),
    /over/,
  );
  assert.equal(existsSync(mark), false);
});

test("runProgram() keeps the first 8192 bytes of megabytes of output", async () => {
  using programs = tempPrograms();
  const path = programs.script("chatter", "yes 0123456 | head -c 8000000", "exit 3");
  const { exitCode, output } = await runProgram(runOf(path));
  assert.equal(exitCode, 3);
  assert.equal(output, "0123456\n".repeat(1024));
});

test("runProgram() ends an endless printer when the time is up", async () => {
  using programs = tempPrograms();
  const path = programs.script("endless", "exec yes");
  const end = await runProgram(runOf(path, { timeoutMs: 300 }));
  assert.deepEqual([end.timedOut, end.output.length], [true, 8192]);
});

test("runProgram() does not wait for a background child that keeps the output open, and lets it live", async () => {
  using programs = tempPrograms();
  const path = programs.script("forks", "sleep 1000 & echo $!", "exit 4");
  const { exitCode, output, timedOut } = await runProgram(runOf(path));
  const child = Number(output);
  assert.deepEqual([exitCode, timedOut, isAlive(child)], [4, false, true]);
  process.kill(child, "SIGKILL");
});

test("runProgram() runs a hundred programs at a time, and leaves no zombies", async () => {
  using programs = tempPrograms();
  const path = programs.script("many", 'echo "$1"', "exit $1");
  const { signal } = new AbortController();
  setMaxListeners(0, signal);
  const ends = await Promise.all(
    Array.from(
      { length: 100 },
      async (_, i) => await runProgram(runOf(path, { args: [String(i)], signal })),
    ),
  );
  assert.deepEqual(
    ends.map(({ exitCode, output }) => `${exitCode} ${output}`),
    ends.map((_, i) => `${i} ${i}\n`),
  );
  assert.deepEqual(zombies(), []);
});

function zombies(): string[] {
  const stats = readdirSync("/proc")
    .filter((one) => /^\d+$/.test(one))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/stat`, "utf8")];
      } catch {
        return [];
      }
    });
  return stats.filter((one) => one.includes(`) Z ${process.pid} `));
}

test("runProgram() says why a program cannot be run, in the system's words", async () => {
  using programs = tempPrograms();
  const { directory } = programs;
  const plain = programs.file("plain", "#!/bin/sh\n", 0o644);
  const orphan = programs.file("orphan", "#!/no/such/interpreter\n");
  const cases: readonly (readonly [string, string])[] = [
    [join(directory, "none"), "No such file or directory"],
    [join(plain, "below"), "Not a directory"],
    [plain, "Permission denied"],
    [directory, "Permission denied"],
    [orphan, "No such file or directory"],
    ["relative/name", "Not an absolute path"],
  ];
  for (const [path, why] of cases) {
    await assert.rejects(runProgram(runOf(path)), startError(why), path);
  }
});

test("runProgram() never hands a file without a first line of its own to a shell", async () => {
  using programs = tempPrograms();
  const mark = join(programs.directory, "ran");
  for (const text of [`touch ${mark}\n`, ""]) {
    const path = programs.file("bare", text);
    await assert.rejects(runProgram(runOf(path)), startError("Exec format error"));
  }
  assert.equal(existsSync(mark), false);
});

test("isShortage() tells a want of processes from a program that is not there", () => {
  const because = (code: string) =>
    new RelayError("PROGRAM_START", "/x", "", { cause: Object.assign(new Error(code), { code }) });
  assert.equal(isShortage(because("EAGAIN")), true);
  assert.equal(isShortage(because("ENOENT")), false);
  assert.equal(isShortage(new Error("EAGAIN")), false);
});

test("runProgram() gives all ids of the account and no other groups", {
  skip: needsRoot(),
}, async () => {
  using programs = tempPrograms();
  const path = programs.script("identity", "grep -E '^(Uid|Gid|Groups)' /proc/$$/status");
  const { uid, gid } = findAccount("nobody");
  const account = findAccount("nobody");
  const { output } = await runProgram(runOf(path, { account }));
  assert.deepEqual(
    output.split("\n").map((line) => line.trim().split(/\s+/)),
    [
      ["Uid:", uid, uid, uid, uid].map(String),
      ["Gid:", gid, gid, gid, gid].map(String),
      ["Groups:"],
      [""],
    ],
  );
});

test("runProgram() and its time-out work for a process that has given up root", {
  skip: needsRoot(),
}, () => {
  using programs = tempPrograms();
  const hang = programs.script("hang", "grep '^Uid' /proc/$$/status", "exec sleep 1000");
  // Ids are given up for good in a process of its own.
  const text = `
    import { become, findAccount } from ${JSON.stringify(room("identity.js"))};
    import { runProgram } from ${JSON.stringify(room("program.js"))};
    const account = findAccount("nobody");
    become(account);
    const { signal } = new AbortController();
    const run = { path: ${JSON.stringify(hang)}, args: [], account, timeoutMs: 500, signal };
    const end = await runProgram(run);
    console.log(JSON.stringify({ ...end, uid: process.getuid(), euid: process.geteuid() }));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", text], {
    encoding: "utf8",
    timeout: 30_000,
  });
  assert.equal(stderr, "");
  const { uid } = findAccount("nobody");
  assert.deepEqual(JSON.parse(stdout), {
    exitCode: 137,
    killedBy: "SIGKILL",
    output: `Uid:\t${uid}\t${uid}\t${uid}\t${uid}\n`,
    timedOut: true,
    uid: 0,
    euid: uid,
  });
});

test("programWarnings() names what is missing, no file, or not executable", () => {
  using programs = tempPrograms();
  const { directory } = programs;
  const plain = programs.file("plain", "", 0o644);
  assert.deepEqual(programWarnings(join(directory, "none"), "filter"), [
    `filter program does not exist: ${join(directory, "none")}`,
  ]);
  assert.deepEqual(programWarnings(directory, "filter"), [`invalid program: ${directory}`]);
  assert.deepEqual(programWarnings(plain, "verifier"), [
    `verifier program is not executable: ${plain}`,
  ]);
  assert.deepEqual(programWarnings(programs.script("fine"), "filter"), []);
});

test("programWarnings() says that there is none where none can be looked at", () => {
  using programs = tempPrograms();
  const { directory } = programs;
  const loop = join(directory, "loop");
  symlinkSync(loop, loop);
  const below = join(programs.file("file", ""), "x");
  for (const path of [loop, below, join(directory, "x".repeat(300))]) {
    assert.deepEqual(programWarnings(path, "filter"), [`filter program does not exist: ${path}`]);
  }
});

test("programWarnings() names a program in a directory that is closed to the account", () => {
  using programs = tempPrograms();
  const path = programs.script("closed");
  chmodSync(programs.directory, 0);
  // What root may read (Node and this project may lie in a closed directory) is read before.
  const text = `
    const { programWarnings } = await import(${JSON.stringify(room("program.js"))});
    if (process.getuid() === 0) {
      process.setgroups([]);
      process.setgid(1);
      process.setuid(1);
    }
    console.log(JSON.stringify(programWarnings(${JSON.stringify(path)}, "filter")));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", text], {
    encoding: "utf8",
  });
  chmodSync(programs.directory, 0o755);
  assert.equal(stderr, "");
  assert.deepEqual(JSON.parse(stdout), [`filter program is not executable: ${path}`]);
});
