import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import {
  bin,
  dialogue,
  runProgram,
  sendMail,
  TestRelay,
  temporary,
  temporarySpool,
  until,
} from "../support/relayd.ts";

const asRoot = { skip: process.getuid?.() === 0 ? false : "needs root" };

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function startInBackground(more: readonly string[] = []) {
  const port = await freePort();
  const spool = temporarySpool();
  const pidFile = join(temporary(), "run", "relayd.pid");
  const args = [
    ...["--as-server", "--no-syslog", "--interface=127.0.0.1", `--port=${port}`],
    ...[`--spool-dir=${spool}`, `--pid-file=${pidFile}`, "--user=root", ...more],
  ];
  const { code, stderr } = await runProgram("relayd", args);
  return { port, spool, pidFile, args, code, stderr };
}

test("the background start returns when the ports are open, and SIGTERM ends it tidily", async () => {
  const { port, pidFile, code, stderr } = await startInBackground();
  assert.equal(code, 0, stderr);
  const text = readFileSync(pidFile, "latin1");
  assert.match(text, /^\d+\n$/);
  assert.equal(statSync(pidFile).mode & 0o777, 0o644);
  assert.match((await dialogue(port, ["QUIT"])).join(), /^220 .*,221 OK$/);
  const pid = Number(text);
  process.kill(pid, "SIGTERM");
  await until(() => !alive(pid));
  assert.equal(existsSync(pidFile), false);
});

test("a port in use is an error in the foreground with exit code 2", async () => {
  const { args, pidFile } = await startInBackground();
  const pid = Number(readFileSync(pidFile, "latin1"));
  const second = await runProgram("relayd", args);
  process.kill(pid, "SIGTERM");
  assert.equal(second.code, 2);
  assert.match(second.stderr, /^relayd: error: .*address already in use/m);
});

test("a start that fails for its port leaves nothing behind, and the other relay its pid file", async () => {
  const { args, pidFile, spool } = await startInBackground();
  const text = readFileSync(pidFile, "latin1");
  const own = temporary();
  const mine = [`--spool-dir=${own}`, `--pid-file=${join(own, "pid")}`];
  const others = args.filter((arg) => !/^--(?:spool-dir|pid-file)=/.test(arg));
  const second = await runProgram("relayd", [...others, ...mine]);
  const third = await runProgram("relayd", args);
  const left = readdirSync(spool).filter((name) => name !== ".relayd");
  const kept = readFileSync(pidFile, "latin1");
  process.kill(Number(text), "SIGTERM");
  await until(() => !existsSync(pidFile));
  assert.deepEqual([second.code, third.code], [2, 2]);
  const errors = second.stderr.split("\n").filter((line) => line.includes(": error: "));
  const port = args.find((arg) => arg.startsWith("--port="))?.slice(7);
  const why = `socket bind error: address already in use: 127.0.0.1:${port}`;
  assert.deepEqual(errors, [`relayd: error: ${why}`]);
  assert.deepEqual(
    readdirSync(own).filter((name) => name !== ".relayd"),
    [],
  );
  assert.deepEqual([kept, left], [text, []]);
});

for (const [background, front] of [
  ["in front", ["--no-daemon"]],
  ["in the background", []],
] as const) {
  test(`a pid file that cannot be written stops the start ${background}, which leaves nothing`, async () => {
    const folder = temporary();
    const [socket, file] = [join(folder, "smtp"), join(folder, "file")];
    writeFileSync(file, "");
    for (const [pidFile, why] of [
      [folder, "illegal operation on a directory"],
      [join(file, "pid"), "not a directory"],
      [join(folder, "none", "none", "pid"), "no such file or directory"],
    ] as const) {
      const { code, stderr } = await runProgram("relayd", [
        ...["--user=root", "--port=0", `--interface=${socket}`, `--spool-dir=${temporarySpool()}`],
        ...[`--pid-file=${pidFile}`, ...front],
      ]);
      assert.equal(stderr, `relayd: error: cannot write pid file: ${pidFile}: ${why}\n`);
      assert.equal(code, 1);
      assert.equal(existsSync(socket), false);
    }
  });
}

test("--close-stderr closes standard error in front as well, and the rest goes on", async () => {
  const relay = await TestRelay.start(["--close-stderr"]);
  const { stderr } = relay.child;
  assert.ok(stderr !== null);
  await until(() => stderr.readableEnded);
  assert.equal(await sendMail(relay.port), "250 message processed");
  await relay.logged("accepted [");
  assert.equal(await relay.end(), 0);
});

test("a missing spool directory is an error with its name", async () => {
  const { code, stderr } = await runProgram("relayd", [
    "--as-server",
    "--spool-dir=/nonexistent/spool",
    "--port=0",
    "--user=root",
  ]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /relayd: error: invalid spool directory: \/nonexistent\/spool: no such file or directory/,
  );
});

test("a missing spool directory is not told to be unwritable", asRoot, async () => {
  const args = ["--as-client=127.0.0.1:1", "--spool-dir=/nonexistent/spool"];
  const { stderr } = await runProgram("relayd", args);
  const why = "invalid spool directory: /nonexistent/spool: no such file or directory";
  assert.equal(stderr, `relayd: error: ${why}\n`);
});

test("an unknown --user is an error with its name", asRoot, async () => {
  const { code, stderr } = await runProgram("relayd", ["--as-server", "--user=nobodyatall"]);
  assert.equal(code, 1);
  assert.match(stderr, /relayd: error: no such user: nobodyatall/);
});

test("a relay that gives up root writes its mail as that user", asRoot, async () => {
  const spool = mkdtempSync("/tmp/relayd-user-");
  spawnSync("chown", ["root:daemon", spool]);
  spawnSync("chmod", ["2775", spool]);
  const port = await freePort();
  const pidFile = join(temporary(), "pid");
  const { code, stderr } = await runProgram("relayd", [
    ...["--as-server", "--no-syslog", "--interface=127.0.0.1", `--port=${port}`],
    ...[`--spool-dir=${spool}`, `--pid-file=${pidFile}`],
  ]);
  assert.equal(code, 0, stderr);
  const pid = readFileSync(pidFile, "latin1").trim();
  const uids = /^Uid:\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
  assert.equal(uids?.[2], "1", "effective uid is daemon's");
  assert.equal(await sendMail(port), "250 message processed");
  process.kill(Number(pid), "SIGTERM");
  await until(() => !existsSync(pidFile));
  const { stdout } = spawnSync("stat", ["-c", "%G %a", ...globFiles(spool)], {
    encoding: "latin1",
  });
  assert.equal(stdout, "daemon 660\ndaemon 660\n");
  spawnSync("rm", ["-r", spool]);
});

function globFiles(spool: string): string[] {
  const { stdout } = spawnSync("find", [spool, "-name", "emailrelay.*"], { encoding: "latin1" });
  return stdout.trim().split("\n");
}

test("SIGUSR1 starts forwarding and SIGUSR2 writes a status line", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  await sendMail(relay.port);
  relay.child.kill("SIGUSR2");
  await relay.logged(/status: sessions \d, accepted 1, delivered 0, failed 0, waiting 1/);
  relay.child.kill("SIGUSR1");
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
});

test("a spool that has gone is told by SIGUSR2 and SIGUSR1, and used when it is there again", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  await sendMail(relay.port);
  renameSync(relay.spool, `${relay.spool}.away`);
  relay.child.kill("SIGUSR2");
  await relay.logged(/status: sessions \d.*, waiting unknown: cannot list ".*": no such file/);
  relay.child.kill("SIGUSR1");
  await relay.logged(/error: forwarding: cannot list/);
  renameSync(`${relay.spool}.away`, relay.spool);
  relay.child.kill("SIGUSR1");
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
});

test("SIGHUP reopens the log", async () => {
  const directory = temporary();
  const log = join(directory, "relay.log");
  const relay = await TestRelay.start([]);
  const own = /--log-file=(\S+)/.exec(relay.child.spawnargs.join(" "))?.[1] ?? "";
  spawnSync("mv", [own, log]);
  relay.child.kill("SIGHUP");
  await until(() => existsSync(own) && readFileSync(own, "latin1").includes("reloaded"));
  await sendMail(relay.port);
  await until(() => readFileSync(own, "latin1").includes("smtp connection from"));
  assert.equal(readFileSync(log, "latin1").includes("smtp connection from 127"), true);
});

test("SIGTERM finishes the message in hand and puts the others back", async () => {
  let answer: (() => void) | undefined;
  const smarthost = await openCatcher({ data: "354 go" });
  void answer;
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  const socket = connect(relay.port, "127.0.0.1");
  let said = "";
  socket.on("data", (data) => {
    said += data.toString("latin1");
  });
  const say = async (text: string, wanted: RegExp) => {
    socket.write(text);
    await until(() => wanted.test(said));
  };
  await say("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", /^354/m);
  const ended = relay.end("SIGTERM");
  await say("Subject: late\r\n\r\n.\r\n", /250 message processed/);
  socket.end();
  assert.equal(await ended, 0);
  assert.deepEqual(
    relay.files().map((name) => name.replace(/^emailrelay[\d.]+/, "")),
    ["content", "envelope"],
  );
});

test("a log without --log is empty, and unreadable secrets stop the start", async () => {
  const directory = temporary();
  const secrets = join(directory, "secrets");
  const base = ["--as-server", "--no-daemon", `--spool-dir=${temporarySpool()}`, "--user=root"];
  const missing = await runProgram("relayd", [...base, `--server-auth=${secrets}`]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /relayd: error: cannot read secrets file: .*secrets/);
  writeFileSync(secrets, "nonsense plain x y\n", { mode: 0o600 });
  const invalid = await runProgram("relayd", [...base, `--server-auth=${secrets}`]);
  assert.equal(invalid.code, 1);
  assert.match(invalid.stderr, /relayd: error: invalid secrets file/);
});

test("kill -9 while forwarding leaves nothing stranded: the next run delivers", async () => {
  let hold = true;
  const smarthost = await openCatcher({ dot: () => (hold ? "" : undefined) });
  const relay = await TestRelay.start([
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port);
  await until(() => relay.files().some((name) => name.endsWith(".busy")));
  await relay.end("SIGKILL");
  hold = false;
  const ran = await runProgram("relayd", [
    `--as-client=${smarthost.address}`,
    `--spool-dir=${relay.spool}`,
    "--user=root",
  ]);
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(smarthost.messages.length, 1);
  assert.deepEqual(relay.files(), []);
});

test("the program is called by the name it was started with", async () => {
  const directory = temporary();
  const link = join(directory, "emailrelay");
  spawnSync("ln", ["-s", bin("relayd"), link]);
  const ran = spawnSync(process.execPath, [link, "--nonsense"], { encoding: "latin1" });
  assert.equal(ran.status, 1);
  assert.match(ran.stderr, /^emailrelay: error: invalid option: "--nonsense"/);
});

test("the journal of a busy spool keeps what was acknowledged through a kill", async () => {
  const spool = temporarySpool();
  const relay = await TestRelay.start([], { spool });
  const folder = join(spool, ".relayd/journal");
  const inUse = () => existsSync(folder) && readdirSync(folder).some((name) => /\.a$/.test(name));
  let sent = 0;
  // Until it is in use, and then some more.
  for (let left = 8; left > 0; left -= inUse() ? 1 : 0) {
    assert.ok(sent < 5000, "the spool is never busy");
    const batch = Array.from({ length: 25 }, async () => await sendMail(relay.port));
    for (const reply of await Promise.all(batch)) assert.equal(reply, "250 message processed");
    sent += batch.length;
  }
  await relay.end("SIGKILL");
  const again = await TestRelay.start([], { spool });
  const names = again.files();
  assert.equal(names.filter((name) => name.endsWith(".envelope")).length, sent);
  assert.equal(names.filter((name) => name.endsWith(".content")).length, sent);
});
