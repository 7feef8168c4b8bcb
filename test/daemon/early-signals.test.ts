/** Signals that come when clients find an open port already, but before the program is ready. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort } from "../support/catcher.ts";
import { present } from "../support/peer.ts";
import { bin, canConnect, temporary, temporarySpool, until } from "../support/relayd.ts";

for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) {
  test(`${signal} while the ports are being opened does not end relayd`, {
    skip: present("strace"),
  }, async () => {
    const folder = temporary();
    const [log, pidFile] = [join(folder, "log"), join(folder, "pid")];
    const port = await freePort();
    // After each listen() nothing happens for a while.
    const slow = ["-e", "trace=listen", "-e", "inject=listen:delay_exit=300000"];
    const traced = spawn(
      "strace",
      [
        ...["-o", "/dev/null", ...slow, process.execPath, bin("relayd"), "--as-server"],
        ...["--no-daemon", "--user=root", "--no-syslog", "--interface=127.0.0.1", "--log"],
        ...[`--port=${port}`, `--spool-dir=${temporarySpool()}`, `--log-file=${log}`],
        ...["--domain=relay.test", `--pid-file=${pidFile}`],
      ],
      { stdio: "ignore" },
    );
    after(() => traced.kill("SIGKILL"));
    await until(() => canConnect(port));
    assert.equal(existsSync(pidFile), false, "it is ready too soon for this test");
    const { pid = 0 } = traced;
    const [relayd = ""] = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ");
    process.kill(Number(relayd), signal);
    await until(() => existsSync(pidFile));
    if (signal === "SIGHUP") {
      await until(() => readFileSync(log, "utf8").includes("reloaded secrets and certificates"));
    }
    process.kill(Number(relayd), "SIGTERM");
    const [code] = (await once(traced, "exit")) as [number | null];
    assert.equal(code, 0);
  });
}
