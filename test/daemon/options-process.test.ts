/** Options of the process: what it prints, what it logs and where to. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "../support/catcher.ts";
import { present } from "../support/peer.ts";
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

test("--help and --version print on standard output, more with --verbose", async () => {
  const help = await runProgram("relayd", ["--help"]);
  assert.deepEqual([help.code, help.stderr], [0, ""]);
  assert.match(help.stdout, /^relayd V[\d.]+\n\nabbreviated usage: relayd /);
  const more = await runProgram("relayd", ["--help", "--verbose"]);
  assert.match(more.stdout, /^usage: relayd [\s\S]*--prompt-timeout/m);
  const version = await runProgram("relayd", ["--version"]);
  assert.match(version.stdout, /^relayd V[\d.]+\n\nCopyright /);
  assert.doesNotMatch(version.stdout, /^Multi-threading: /m);
  const capabilities = await runProgram("relayd", ["-V", "-v"]);
  assert.match(capabilities.stdout, /^Unix domain sockets: enabled\n/m);
});

/** What a relay in the foreground writes to standard error while it takes one message. */
async function foreground(...options: readonly string[]): Promise<string> {
  const relay = await TestRelay.start(options);
  await sendMail(relay.port);
  await relay.logged("smtp connection closed");
  await relay.end();
  return relay.log;
}

test("--log-time, --log-address and --log-format put more before each line", async () => {
  assert.match(await foreground(), /^relayd: info: smtp connection from 127\.0\.0\.1:\d+$/m);
  const time = String.raw`\d{8}\.\d{6}\.\d{3}: `;
  assert.match(
    await foreground("--log-time", "--log-address"),
    new RegExp(`^relayd: ${time}info: 127\\.0\\.0\\.1; rx<<: "MAIL FROM:`, "m"),
  );
  assert.match(
    await foreground("--log-format=address,port,unknown"),
    /^relayd: info: 127\.0\.0\.1;\d+: rx<<: "MAIL FROM:/m,
  );
});

test("--log-file names the day, and --localedir and --debug change nothing", async () => {
  const directory = temporary();
  const spool = temporarySpool();
  const { code, stderr } = await runProgram("relayd", [
    ...["--log", `--log-file=${directory}/log.%d`, "--localedir=/none", "--debug", "--verbose"],
    ...["--no-syslog", "--user=root", "--no-daemon", "--dont-serve", "--forward"],
    ...["--forward-to=127.0.0.1:1", `--spool-dir=${spool}`],
  ]);
  assert.deepEqual([code, stderr], [0, "relayd: no messages to send\n"]);
  const day = new Date();
  const two = (n: number) => String(n).padStart(2, "0");
  const name = `log.${day.getFullYear()}${two(day.getMonth() + 1)}${two(day.getDate())}`;
  assert.ok(existsSync(join(directory, name)));
});

test("--verbose logs the dialogue, which is not logged without it", async () => {
  const port = await freePort();
  const log = join(temporary(), "log");
  const start = async (...more: readonly string[]) => {
    const pidFile = join(temporary(), "pid");
    const { code, stderr } = await runProgram("relayd", [
      // In the background with standard error open, it would keep this test's pipe.
      ...["--log", "--close-stderr", "--no-syslog", "--user=root", "--interface=127.0.0.1"],
      ...[`--port=${port}`, `--spool-dir=${temporarySpool()}`, `--pid-file=${pidFile}`],
      ...[`--log-file=${log}`, ...more],
    ]);
    assert.equal(code, 0, stderr);
    await sendMail(port);
    await until(() => readFileSync(log, "latin1").includes("smtp connection closed"));
    process.kill(Number(readFileSync(pidFile, "latin1")), "SIGTERM");
    await until(() => !existsSync(pidFile));
    const text = readFileSync(log, "latin1");
    writeFileSync(log, "");
    return { text, stderr };
  };
  const quiet = await start();
  assert.doesNotMatch(quiet.text, /rx<</);
  assert.equal(quiet.stderr, "");
  assert.match((await start("--verbose")).text, /rx<<: "MAIL FROM:/);
});

test("--close-stderr closes standard error once it runs", async () => {
  const port = await freePort();
  const pidFile = join(temporary(), "pid");
  const run = async (...more: readonly string[]) => {
    const { code, stderr } = await runProgram("relayd", [
      ...["--log", "--no-syslog", "--user=root", "--interface=127.0.0.1", `--port=${port}`],
      ...[`--spool-dir=${temporarySpool()}`, `--pid-file=${pidFile}`, ...more],
    ]);
    assert.equal(code, 0);
    return stderr;
  };
  // Standard error would stay open with the daemon, and the run would not be over.
  const stderr = await run("--close-stderr");
  assert.match(stderr, /logging will stop because --close-stderr closes the standard error/);
  assert.match((await dialogue(port, ["QUIT"])).join(), /^220 /);
  process.kill(Number(readFileSync(pidFile, "latin1")), "SIGTERM");
  await until(() => !existsSync(pidFile));
});

test("--close-stderr lets a relay that only forwards say its last word", async () => {
  const lastWord = async (...args: readonly string[]) => {
    const base = ["--user=root", "--no-syslog", "--dont-serve", `--spool-dir=${temporarySpool()}`];
    const { stderr } = await runProgram("relayd", [...base, ...args]);
    return stderr.replace(/^relayd: warning: logging will stop because .*\n/, "");
  };
  assert.equal(await lastWord("--as-server"), "relayd: nothing to do\n");
  assert.equal(await lastWord("--as-server", "--no-daemon"), "relayd: nothing to do\n");
  const forward = ["--forward", "--no-daemon"];
  assert.equal(
    await lastWord("--as-proxy=127.0.0.1:1", ...forward),
    "relayd: no messages to send\n",
  );
  assert.equal(
    await lastWord("--forward-to=127.0.0.1:1", "--close-stderr", ...forward),
    "relayd: no messages to send\n",
  );
});

/** Its own /dev, with a syslog socket that a program of ours listens on. */
const namespace = (): string | false => {
  const missing = present("unshare", "/usr/bin/python3", "/usr/bin/logger");
  if (missing !== false) return missing;
  const { status } = spawnSync("unshare", ["-m", "true"]);
  return status === 0 || process.env.CI === "true" ? false : "no mount namespaces";
};

function syslogged(...options: readonly string[]): string {
  const directory = temporary();
  const spool = temporarySpool();
  const listener =
    "import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n" +
    "s.bind('/dev/log')\nprint('ready', flush=True)\nf = open(sys.argv[1], 'wb', 0)\n" +
    "while True: f.write(s.recv(65536) + b'\\n')\n";
  writeFileSync(join(directory, "listen.py"), listener);
  const relayd = [
    ...[process.execPath, bin("relayd"), "--log", "--no-daemon", "--user=root", "--dont-serve"],
    ...["--forward", "--forward-to=127.0.0.1:1", `--spool-dir=${spool}`, "--verbose", ...options],
  ];
  const script =
    'mount -t tmpfs none /dev && for n in "null 1 3" "zero 1 5" "urandom 1 9" "random 1 8"; do ' +
    'set -- $n "$@"; mknod -m 666 /dev/$1 c $2 $3; shift 3; done; directory=$1; shift; ' +
    'mkfifo "$directory/ready"; python3 "$directory/listen.py" "$directory/got" >"$directory/ready" & pid=$!; ' +
    'read -r _ <"$directory/ready"; "$@" 2>"$directory/stderr"; ' +
    'n=0; while [ ! -s "$directory/got" ] && [ $n -lt 30 ]; do sleep 0.1; n=$((n+1)); done; kill $pid';
  const done = spawnSync("unshare", ["-m", "sh", "-c", script, "sh", directory, ...relayd], {
    encoding: "latin1",
    env: { ...process.env, PATH: "/usr/bin:/bin:/usr/sbin:/sbin" },
    timeout: 60_000,
  });
  assert.equal(done.stderr.replace(/.*Terminated.*\n/g, ""), "");
  const got = join(directory, "got");
  return existsSync(got) ? readFileSync(got, "latin1") : "";
}

test("--syslog sends the log to the facility it names, --no-syslog sends nothing", {
  skip: namespace(),
}, () => {
  // 16 + 3 is local3, 6 is info; without a value it is mail, 2.
  const local3 = syslogged("--syslog=local3");
  assert.match(local3, new RegExp(`^<${(16 + 3) * 8 + 6}>.*relayd\\[\\d+\\]: `, "m"));
  assert.match(syslogged("--no-syslog", "--syslog"), new RegExp(`^<${2 * 8 + 6}>`, "m"));
  assert.equal(syslogged("--no-syslog"), "");
});

test("--user may be an account that only getent knows", { skip: namespace() }, () => {
  const getent = join(temporary(), "getent");
  const script = "#!/bin/sh\necho 'relayd-ldap:*:70001:70002::/:/bin/false'\n";
  writeFileSync(getent, script, { mode: 0o755 });
  const check = (user: string): string => {
    const relayd = [process.execPath, bin("relayd"), "--check-config", `--user=${user}`];
    const bind = 'mount --bind "$1" /usr/bin/getent && shift && exec "$@"';
    const inside = ["sh", "-c", bind, "sh", getent, ...relayd, `--spool-dir=${temporarySpool()}`];
    return spawnSync("unshare", ["-m", ...inside], { encoding: "latin1" }).stdout;
  };
  assert.equal(check("relayd-ldap"), "relayd: the configuration is valid\n");
  assert.equal(check("relayd-none"), "--user: no such user: relayd-none\n");
});
