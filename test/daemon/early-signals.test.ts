/** Signals that come when clients find an open port already, but before the program is ready. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { present } from "../support/peer.ts";
import { bin, canConnect, temporary, temporarySpool, until } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";

const needed = { skip: present("strace") };

/** relayd with system calls that are slow, or bring a signal. */
async function startTraced(faults: readonly string[], more: readonly string[] = []) {
  const folder = temporary();
  const [log, pidFile] = [join(folder, "log"), join(folder, "pid")];
  const port = await freePort();
  const traced = spawn(
    "strace",
    [
      ...["-o", "/dev/null", ...faults, process.execPath, bin("relayd"), "--as-server"],
      ...["--no-daemon", "--user=root", "--no-syslog", "--interface=127.0.0.1", "--log"],
      ...[`--port=${port}`, `--log-file=${log}`, "--domain=relay.test", `--pid-file=${pidFile}`],
      ...more,
    ],
    { stdio: "ignore" },
  );
  after(() => traced.kill("SIGKILL"));
  const ended = once(traced, "exit") as Promise<[number | null]>;
  const { pid = 0 } = traced;
  return {
    port,
    pidFile,
    kill(signal: NodeJS.Signals) {
      const [relayd = ""] = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ");
      process.kill(Number(relayd), signal);
    },
    ready: async () => await until(() => existsSync(pidFile)),
    logged: async (text: string) => await until(() => readFileSync(log, "utf8").includes(text)),
    /** The exit code. */
    ended: async () => (await ended)[0],
  };
}

/** The signal comes when the spool is looked at, long before the ports are open. */
async function startWith(signal: NodeJS.Signals, more: readonly string[] = []) {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const looks = "?access,?faccessat,?faccessat2";
  const faults = ["-P", spool, "-e", `trace=${looks}`, "-e"];
  faults.push(`inject=${looks}:signal=${signal.slice(3)}:when=1`);
  return await startTraced(faults, [`--spool-dir=${spool}`, ...more]);
}

for (const [signal, done] of [
  ["SIGHUP", "reloaded secrets and certificates"],
  ["SIGUSR2", "status: sessions"],
] as const) {
  test(
    `${signal} while the spool is being opened is done when relayd is ready`,
    needed,
    async () => {
      const relay = await startWith(signal);
      await relay.ready();
      await relay.logged(done);
      relay.kill("SIGTERM");
      assert.equal(await relay.ended(), 0);
    },
  );

  test(
    `${signal} while the ports are being opened is done when they are open`,
    needed,
    async () => {
      // After each listen() nothing happens for a while.
      const slow = ["-e", "trace=listen", "-e", "inject=listen:delay_exit=300000"];
      const relay = await startTraced(slow, [`--spool-dir=${temporarySpool()}`]);
      await until(() => canConnect(relay.port));
      assert.equal(existsSync(relay.pidFile), false, "it is ready too soon for this test");
      relay.kill(signal);
      await relay.ready();
      await relay.logged(done);
      relay.kill("SIGTERM");
      assert.equal(await relay.ended(), 0);
    },
  );
}

test("SIGUSR1 while the spool is being opened forwards when relayd is ready", needed, async () => {
  const smarthost = await openCatcher();
  const relay = await startWith("SIGUSR1", [`--forward-to=${smarthost.address}`]);
  await smarthost.caught(1);
  relay.kill("SIGTERM");
  assert.equal(await relay.ended(), 0);
});

for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
  test(`${signal} while the spool is being opened ends relayd tidily`, needed, async () => {
    const relay = await startWith(signal);
    assert.equal(await relay.ended(), 0);
    assert.equal(existsSync(relay.pidFile), false);
  });
}
