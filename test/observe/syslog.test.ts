import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { LogConfig } from "../../src/core/config.ts";
import type { RelayEvent } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";
import { type SyslogPlace, usualSyslog } from "../../src/observe/syslog.ts";
import { openLog } from "../../src/observe/targets.ts";

const RSYSLOGD = "/usr/sbin/rsyslogd";
const missing = [RSYSLOGD, "/usr/bin/logger"].filter((path) => !existsSync(path));
const skip = missing.length > 0 && process.env.CI !== "true" && `no ${missing.join(", ")}`;

const CONFIG: LogConfig = {
  enabled: true,
  verbosity: 2,
  file: null,
  stderr: true,
  syslog: "mail",
  format: "text",
  fields: [],
};

function note(text: string, level: "info" | "warning" | "error" = "info"): RelayEvent {
  return { kind: "note", level, detail: false, text };
}

function bench() {
  const directory = mkdtempSync(join(tmpdir(), "relayd-syslog-"));
  const stderr = openSync(join(directory, "stderr"), "a");
  return {
    directory,
    open: (place: Partial<SyslogPlace>, config: Partial<LogConfig> = {}) =>
      openLog({
        config: { ...CONFIG, ...config },
        program: "relayd",
        pid: process.pid,
        clock: systemClock,
        group: null,
        stderr,
        syslog: { ...usualSyslog, ...place },
      }),
    lines: (name: string) => readFileSync(join(directory, name), "utf8").split("\n").slice(0, -1),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

/** A real rsyslogd on a socket of its own; ended, it has written everything. */
async function rsyslog(directory: string) {
  const socket = join(directory, "log.sock");
  const appeared = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("rsyslogd does not start")), 10_000);
    const watcher = watch(directory, () => {
      if (!existsSync(socket)) return;
      clearTimeout(timer);
      watcher.close();
      resolve();
    });
  });
  writeFileSync(
    join(directory, "rsyslog.conf"),
    `global(workDirectory="${directory}" maxMessageSize="16k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="${socket}" RateLimit.Interval="0")
template(name="t" type="string" string="%syslogfacility-text%.%syslogseverity-text% %syslogtag%%msg%\\n")
*.* action(type="omfile" file="${directory}/out" template="t")
`,
  );
  const args = ["-n", "-f", join(directory, "rsyslog.conf"), "-i", join(directory, "pid")];
  const child = spawn(RSYSLOGD, args, { stdio: "ignore" });
  await appeared;
  const end = async () => {
    // It stops reading as soon as it is told to end: what it has not read by then would be lost.
    await marked(socket, join(directory, "out"));
    await ended(child);
  };
  return { socket, end };
}

/** Resolves when a line that is sent now has been written, and so all that were sent before it. */
async function marked(socket: string, file: string): Promise<void> {
  const lines = () => (existsSync(file) ? readFileSync(file, "utf8") : "");
  const written = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("rsyslogd does not write")), 10_000);
    const watcher = watch(dirname(file), () => {
      if (!lines().includes("marker: last")) return;
      clearTimeout(timer);
      watcher.close();
      resolve();
    });
  });
  await once(spawn("/usr/bin/logger", ["--socket", socket, "--tag", "marker", "last"]), "exit");
  await written;
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  await exit;
}

test("syslog gets every line with its facility and severity, program and pid, before close() ends", {
  skip,
}, async () => {
  using at = bench();
  const daemon = await rsyslog(at.directory);
  const log = at.open({ socket: daemon.socket }, { syslog: "local3" });
  const journal = log.journal("");
  journal.tell(note("one"));
  journal.tell(note("two\nand more", "warning"));
  journal.tell(note("three", "error"));
  journal.tell({ kind: "smarthost.resolving", address: "mail:25" });
  journal.tell(note("<0>four"));
  journal.tell(note("ö".repeat(1200)));
  await log.close();
  await daemon.end();
  const tag = `relayd[${process.pid}]:`;
  const ours = at.lines("out").filter((line) => line.includes(tag));
  assert.deepEqual(ours, [
    `local3.info ${tag} relayd: info: one`,
    `local3.warning ${tag} relayd: warning: two\\nand more`,
    `local3.err ${tag} relayd: error: three`,
    `local3.info ${tag} relayd: info: resolving mail:25`,
    `local3.info ${tag} relayd: info: <0>four`,
    `local3.info ${tag} relayd: info: ${"ö".repeat(1000)} ...`,
  ]);
  assert.equal(at.lines("stderr").length, 6);
});

test("syslog gets JSON lines whole", { skip }, async () => {
  using at = bench();
  const daemon = await rsyslog(at.directory);
  const log = at.open({ socket: daemon.socket }, { format: "json" });
  const to = Array.from({ length: 100 }, (_, i) => `recipient${i}@example.net`);
  log.journal("").tell({
    kind: "message.accepted",
    id: "x" as never,
    peer: { address: "127.0.0.1", port: 1 },
    from: "",
    to,
    bytes: 1,
    account: "",
    tls: "",
    ms: 1,
  });
  await log.close();
  await daemon.end();
  const line = at.lines("out").find((one) => one.startsWith("mail.info relayd[")) ?? "";
  const record = JSON.parse(line.slice(line.indexOf("{"))) as { to: readonly string[] };
  assert.deepEqual(record.to, to);
});

test("a logger that dies is started again, and the lines go on", { skip }, async () => {
  using at = bench();
  const daemon = await rsyslog(at.directory);
  // Takes one line, then ends; the last one stays.
  const path = join(at.directory, "logger");
  const once1 = `#!/bin/sh
if [ -e ${at.directory}/died ]; then exec /usr/bin/logger "$@"; fi
: >${at.directory}/died
`;
  writeFileSync(path, once1);
  chmodSync(path, 0o755);
  const log = at.open({ socket: daemon.socket, logger: [path] });
  const journal = log.journal("");
  const watcher = watch(at.directory);
  const died = once(watcher, "change");
  journal.tell(note("lost with the first one"));
  await died;
  watcher.close();
  // The exit is noticed some time after; each line until then may be lost, none afterwards.
  const deadline = systemClock.monotonic() + 10_000;
  const out = join(at.directory, "out");
  let n = 0;
  while (
    !(existsSync(out) && readFileSync(out, "utf8").includes("line ")) &&
    systemClock.monotonic() < deadline
  ) {
    journal.tell(note(`line ${n}`));
    n += 1;
    await systemClock.sleep(20, AbortSignal.timeout(1000));
  }
  journal.tell(note("last"));
  await log.close();
  await daemon.end();
  const last = at.lines("out").filter((line) => line.endsWith("relayd: info: last"));
  assert.equal(last.length, 1);
});

test("without logger the lines go to a syslog on this host by udp, and that is said once", async () => {
  using at = bench();
  const receiver = createSocket("udp4");
  receiver.bind(0, "127.0.0.1");
  await once(receiver, "listening");
  const udp = { host: "127.0.0.1", port: receiver.address().port };
  const log = at.open({ logger: ["/nonexistent/logger"], udp });
  const journal = log.journal("");
  journal.tell(note("one"));
  const [first] = (await once(receiver, "message")) as [Buffer];
  journal.tell(note("two", "error"));
  const [second] = (await once(receiver, "message")) as [Buffer];
  await log.close();
  receiver.close();
  const head = `[A-Z][a-z]{2} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d [^ ]+ relayd\\[${process.pid}\\]: `;
  assert.match(first.toString(), new RegExp(`^<22>${head}relayd: info: one$`));
  assert.match(second.toString(), new RegExp(`^<19>${head}relayd: error: two$`));
  assert.deepEqual(at.lines("stderr"), [
    "relayd: info: one",
    `relayd: warning: syslog: logger (util-linux) is not installed: sending to 127.0.0.1:${udp.port} by udp`,
    "relayd: error: two",
  ]);
});

test("a logger that always ends at once is given up after a few starts, and nothing is thrown", async () => {
  using at = bench();
  const udp = { host: "127.0.0.1", port: 9 };
  const log = at.open({ logger: ["/bin/false"], udp });
  const journal = log.journal("");
  const given = () => at.lines("stderr").filter((line) => line.includes("again and again")).length;
  const deadline = systemClock.monotonic() + 10_000;
  while (given() === 0 && systemClock.monotonic() < deadline) {
    journal.tell(note("x"));
    await systemClock.sleep(10, AbortSignal.timeout(1000));
  }
  journal.tell(note("x"));
  await log.close();
  assert.equal(given(), 1);
});

test("a logger that does not read holds up neither lines nor the end", async () => {
  using at = bench();
  const path = join(at.directory, "logger");
  writeFileSync(path, "#!/bin/sh\nexec sleep 60\n");
  chmodSync(path, 0o755);
  const log = at.open({ logger: [path] }, { stderr: false });
  const journal = log.journal("");
  for (let i = 0; i < 5000; i += 1) journal.tell(note(`${i} ${"x".repeat(900)}`));
  await log.close();
});
