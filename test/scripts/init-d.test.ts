import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { needs, type TempTree, tempTree } from "./temp-tree.ts";

const skip = needs("dash");
const script = "init.d/relayd";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function configure(tree: TempTree, port: number): Promise<void> {
  const lines = [`spool-dir ${tree.spool}`, `port ${port}`, "interface 127.0.0.1", "user root"];
  await writeFile(join(tree.root, "etc/relayd.conf"), `${lines.join("\n")}\n`);
}

/** The machine's own log is no place for a test's lines. */
function logToFile(tree: TempTree): Record<string, string> {
  return { RELAYD_SYSLOG: `--no-syslog --log-file=${tree.root}/var/log/relayd.log` };
}

async function writePid(tree: TempTree, pid: number | string): Promise<void> {
  await mkdir(join(tree.root, "run/relayd"), { recursive: true });
  await writeFile(join(tree.root, "run/relayd/relayd.pid"), `${pid}\n`);
}

async function readPid(tree: TempTree): Promise<number> {
  return Number(await readFile(join(tree.root, "run/relayd/relayd.pid"), "utf8"));
}

async function greeting(port: number): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const [text] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return text.toString("latin1");
}

test("init.d/relayd starts, tells, reloads, restarts and stops the daemon", { skip }, async () => {
  await using tree = await tempTree();
  const port = await freePort();
  await configure(tree, port);
  const env = logToFile(tree);
  try {
    const started = await tree.run(script, ["start"], env);
    assert.equal(started.stderr, "");
    assert.equal(started.stdout, "Starting relayd mail server ... ok\n");
    assert.equal(started.status, 0);
    assert.match(await greeting(port), /^220 /);
    const running = await tree.run(script, ["status"], env);
    assert.deepEqual(running, { status: 0, stdout: "relayd is running\n", stderr: "" });

    const first = await readPid(tree);
    assert.equal((await tree.run(script, ["start"], env)).status, 0);
    assert.equal(await readPid(tree), first);

    const reloaded = await tree.run(script, ["reload"], env);
    assert.equal(reloaded.stdout, "Reloading relayd mail server ... ok\n");
    assert.match(await greeting(port), /^220 /);
    assert.equal(await readPid(tree), first);

    assert.equal((await tree.run(script, ["restart"], env)).status, 0);
    assert.notEqual(await readPid(tree), first);
    assert.match(await greeting(port), /^220 /);
    assert.equal((await tree.run(script, ["force-reload"], env)).status, 0);
    assert.match(await greeting(port), /^220 /);
  } finally {
    const stopped = await tree.run(script, ["stop"], env);
    assert.equal(stopped.stdout, "Stopping relayd mail server ... ok\n");
    assert.equal(stopped.status, 0);
  }
  const after = await tree.run(script, ["status"], env);
  assert.deepEqual(after, { status: 3, stdout: "relayd is not running\n", stderr: "" });
  await assert.rejects(greeting(port));
});

test("init.d/relayd start fails with the daemon's reason when the port is taken", {
  skip,
}, async () => {
  await using tree = await tempTree();
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  await configure(tree, (other.address() as AddressInfo).port);
  const done = await tree.run(script, ["start"], logToFile(tree));
  other.close();
  assert.match(done.stderr, /relayd: error: .*address already in use/);
  assert.match(done.stdout, / \.\.\. failed!\n$/);
  assert.equal(done.status, 1);
});

test("init.d/relayd stop fails when nothing runs", { skip }, async () => {
  await using tree = await tempTree();
  const done = await tree.run(script, ["stop"]);
  assert.deepEqual(done, {
    status: 7,
    stdout: "Stopping relayd mail server ... failed!\n",
    stderr: "",
  });
  assert.equal((await tree.run(script, ["reload"])).status, 7);
  assert.equal((await tree.run(script, ["try-restart"])).status, 0);
});

test("init.d/relayd leaves a stranger alone who has the pid of a dead daemon", {
  skip,
}, async () => {
  await using tree = await tempTree();
  const stranger = spawn("sleep", ["600"], { stdio: "ignore" });
  try {
    await once(stranger, "spawn");
    await writePid(tree, stranger.pid ?? 0);
    assert.equal((await tree.run(script, ["stop"])).status, 7);
    const status = await tree.run(script, ["status"]);
    assert.deepEqual(status, { status: 1, stdout: "relayd is not running\n", stderr: "" });
    assert.equal(stranger.exitCode, null);
    assert.equal(stranger.signalCode, null);
  } finally {
    stranger.kill("SIGKILL");
  }
});

test("init.d/relayd stop waits for the process, not for its pid file", { skip }, async () => {
  await using tree = await tempTree();
  await mkdir(join(tree.root, "run/relayd"), { recursive: true });
  const pidFile = join(tree.root, "run/relayd/relayd.pid");
  const ended = join(tree.root, "ended");
  const slow = await tree.program(
    "relayd-slow",
    `#!/bin/sh
trap 'rm -f "${pidFile}"; sleep 1; echo ended >"${ended}"; exit' TERM
echo $$ >"${pidFile}"
echo ready
while :; do sleep 0.1; done
`,
  );
  const child = spawn(slow, { stdio: ["ignore", "pipe", "ignore"] });
  try {
    await once(child.stdout, "data");
    const stopped = await tree.run(script, ["stop"]);
    assert.equal(stopped.status, 0);
    assert.equal(await readFile(ended, "utf8"), "ended\n");
  } finally {
    child.kill("SIGKILL");
  }
});

test("init.d/relayd takes no nonsense out of a pid file", { skip }, async () => {
  await using tree = await tempTree();
  await writePid(tree, "-1");
  assert.equal((await tree.run(script, ["stop"])).status, 7);
  await writePid(tree, "");
  assert.equal((await tree.run(script, ["status"])).status, 1);
});

test("init.d/relayd start does nothing when it is disabled", { skip }, async () => {
  await using tree = await tempTree();
  await writeFile(join(tree.root, "etc/default/relayd"), "RELAYD_ENABLED=0\n");
  const done = await tree.run(script, ["start"]);
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
});

test("init.d/relayd start tells a missing program from a missing configuration", {
  skip,
}, async () => {
  await using tree = await tempTree();
  assert.equal((await tree.run(script, ["start"])).status, 6);
  await configure(tree, 1);
  const missing = await tree.run(script, ["start"], { RELAYD_DAEMON: "/none/relayd" });
  assert.equal(missing.status, 5);
  assert.match(missing.stdout, / \.\.\. failed!\n$/);
});

test("init.d/relayd start gives the daemon its options", { skip }, async () => {
  await using tree = await tempTree();
  await configure(tree, 1);
  const daemon = await tree.program(
    "noted",
    `#!/bin/sh\nprintf '%s\\n' "$@" >'${tree.root}/args'\n`,
  );
  await writeFile(
    join(tree.root, "etc/default/relayd"),
    `RELAYD_DAEMON='${daemon}'\nRELAYD_OPTIONS="--verbose --poll=60"\n`,
  );
  assert.equal((await tree.run(script, ["quickstart"])).status, 0);
  assert.deepEqual((await readFile(join(tree.root, "args"), "utf8")).split("\n"), [
    "--as-server",
    "--syslog=mail",
    `--pid-file=${join(tree.root, "run/relayd/relayd.pid")}`,
    "--verbose",
    "--poll=60",
    join(tree.root, "etc/relayd.conf"),
    "",
  ]);
});

test("init.d/relayd setup makes the directories for the group of relayd", {
  skip: skip || (process.getuid?.() === 0 ? false : "only root can give directories away"),
}, async () => {
  await using tree = await tempTree();
  assert.equal((await tree.run(script, ["setup"])).status, 0);
  const daemon = /^daemon:[^:]*:(\d+):/m.exec(await readFile("/etc/group", "utf8"))?.[1];
  const spool = await stat(tree.spool);
  assert.equal(spool.mode.toString(8), "42775");
  assert.equal(String(spool.gid), daemon);
  const run = await stat(join(tree.root, "run/relayd"));
  assert.equal(run.mode.toString(8), "40775");
  assert.equal(String(run.gid), daemon);
});

test("init.d/relayd answers any other word with its usage", { skip }, async () => {
  await using tree = await tempTree();
  for (const words of [[], ["nonsense"]]) {
    const done = await tree.run(script, words);
    assert.equal(done.status, 2);
    assert.match(done.stderr, /^usage: relayd \{start\|stop\|restart\|/);
  }
});
