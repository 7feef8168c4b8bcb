/** --server-auth=pam: with a PAM service of its own, which a real saslauthd asks. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort } from "../support/catcher.ts";
import { present, runPeer } from "../support/peer.ts";
import {
  dialogue,
  runProgram,
  TestRelay,
  temporary,
  temporarySpool,
  until,
} from "../support/relayd.ts";

function skipping(): string | false {
  const missing = present("saslauthd", "unshare");
  if (missing !== false) return missing;
  const { status } = spawnSync("unshare", ["-m", "true"]);
  return status === 0 || process.env.CI === "true" ? false : "no mount namespaces";
}

const skip = skipping();

/** saslauthd, in whose eyes /etc/pam.d is a copy that has our service: alice's password is "p w". */
async function startSaslauthd(): Promise<{ daemon: ChildProcess; socket: string }> {
  const directory = temporary();
  const services = join(directory, "pam.d");
  cpSync("/etc/pam.d", services, { recursive: true });
  const check = join(directory, "check");
  writeFileSync(
    check,
    '#!/bin/sh\npassword=$(tr -d "\\0")\n[ "$PAM_USER" = alice ] && [ "$password" = "p w" ]\n',
  );
  chmodSync(check, 0o755);
  chmodSync(directory, 0o755);
  writeFileSync(
    join(services, "emailrelay"),
    `auth required pam_exec.so expose_authtok quiet ${check}\naccount required pam_permit.so\n`,
  );
  cpSync(join(services, "emailrelay"), join(services, "relayd"));
  const run = join(directory, "run");
  // As Debian has it: nobody but root and one group may come near.
  mkdirSync(run, { mode: 0o710 });
  const script = 'mount --bind "$1" /etc/pam.d && exec saslauthd -d -a pam -n 2 -m "$2"';
  const daemon = spawn("unshare", ["-m", "sh", "-c", script, "sh", services, run], {
    stdio: "ignore",
    // It forks its workers, which end with it.
    detached: true,
    env: { ...process.env, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  after(() => {
    if (daemon.pid !== undefined && daemon.exitCode === null) process.kill(-daemon.pid, "SIGKILL");
  });
  const socket = join(run, "mux");
  await until(() => existsSync(socket));
  return { daemon, socket };
}

async function isRefused(path: string): Promise<boolean> {
  const socket = connect({ path });
  const [error] = (await Promise.race([
    once(socket, "connect"),
    new Promise((resolve) => socket.once("error", (failure) => resolve([failure]))),
  ])) as [NodeJS.ErrnoException | undefined];
  socket.destroy();
  return error?.code === "ECONNREFUSED";
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");

test("--server-auth=pam: lets in who PAM says, by PLAIN and LOGIN", { skip }, async () => {
  const { socket, daemon } = await startSaslauthd();
  const relay = await TestRelay.start([`--server-auth=pam:${socket}`]);
  const login = async (...lines: readonly string[]) => {
    const replies = await dialogue(relay.port, ["EHLO c", ...lines, "MAIL FROM:<a@b>", "QUIT"]);
    return replies.slice(2, -1);
  };
  const welcome = ["235 authentication successful", "250 sender <a@b> OK"];
  const refused = ["535 authentication failed", "530 authentication required"];
  assert.deepEqual(await login(`AUTH PLAIN ${base64("\0alice\0p w")}`), welcome);
  assert.deepEqual(await login(`AUTH PLAIN ${base64("\0alice\0wrong")}`), refused);
  assert.deepEqual(await login(`AUTH PLAIN ${base64("\0bob\0p w")}`), refused);
  const steps = ["AUTH LOGIN", base64("alice"), base64("p w")];
  assert.deepEqual((await login(...steps)).slice(2), welcome);
  assert.match(
    relay.log,
    /successful authentication .* using mechanism \[plain\] and pam for \[alice\]/,
  );
  assert.doesNotMatch(relay.log, /p w|cCB3/);
  const ended = once(daemon, "exit");
  if (daemon.pid !== undefined) process.kill(-daemon.pid, "SIGKILL");
  await ended;
  // Its workers die a moment later, and listen until then.
  await until(async () => await isRefused(socket));
  const unsure = await login(`AUTH PLAIN ${base64("\0alice\0p w")}`);
  assert.deepEqual(unsure, ["454 temporary authentication failure", "530 authentication required"]);
  assert.match(relay.log, /pam for \[alice\]: saslauthd: connect ECONNREFUSED/);
});

test("--pop-auth=pam: lets in who PAM says", {
  skip: skip === false ? present("curl") : skip,
}, async () => {
  const { socket } = await startSaslauthd();
  const port = await freePort();
  const spool = temporarySpool();
  const relay = await TestRelay.start(
    [
      ...["--pop", `--pop-port=${port}`, `--pop-auth=pam:${socket}`, `--spool-dir=${spool}`],
      ...["--no-smtp", "--interface=127.0.0.1"],
    ],
    { spool, port, instances: true },
  );
  const fetch = async (password: string) => {
    const url = `pop3://127.0.0.1:${port}/`;
    return (await runPeer("curl", ["-sS", "--user", `alice:${password}`, url])).code;
  };
  assert.equal(await fetch("p w"), 0, relay.log);
  assert.equal(await fetch("wrong"), 67);
});

test("--server-auth=pam: reaches saslauthd as root when relayd runs as another account", {
  skip: process.getuid?.() === 0 ? skip : "needs root",
}, async () => {
  const { socket } = await startSaslauthd();
  const port = await freePort();
  const spool = temporarySpool();
  chmodSync(join(spool, ".."), 0o755);
  chmodSync(spool, 0o777);
  const pidFile = join(temporary(), "pid");
  const { code, stderr } = await runProgram("relayd", [
    ...["--as-server", "--no-syslog", "--user=daemon", "--interface=127.0.0.1", `--port=${port}`],
    ...[`--spool-dir=${spool}`, `--pid-file=${pidFile}`, `--server-auth=pam:${socket}`],
  ]);
  assert.equal(code, 0, stderr);
  const pid = readFileSync(pidFile, "latin1").trim();
  const [, uid] = /^Uid:\s+\d+\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? [];
  const replies = await dialogue(port, ["EHLO c", `AUTH PLAIN ${base64("\0alice\0p w")}`, "QUIT"]);
  process.kill(Number(pid), "SIGTERM");
  await until(() => !existsSync(pidFile));
  assert.notEqual(uid, "0");
  assert.equal(replies[2], "235 authentication successful");
});

test("--server-auth=pam: without saslauthd is refused at the start, and by --check-config", async () => {
  const path = join(temporary(), "mux");
  const text = `cannot use pam: saslauthd does not listen at ${path}: PAM is asked through it (Debian: sasl2-bin)`;
  const options = [`--server-auth=pam:${path}`, "--user=root", `--spool-dir=${temporarySpool()}`];
  const start = await runProgram("relayd", ["--as-server", "--port=0", ...options]);
  assert.deepEqual([start.code, start.stderr], [1, `relayd: error: ${text}\n`]);
  const check = await runProgram("relayd", ["--check-config", "--as-server", ...options]);
  assert.deepEqual([check.code, check.stdout], [1, `--server-auth: ${text}\n`]);
});
