/** The compared programs: relayd, Debian's Postfix, and any program with E-MailRelay's options. */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort } from "../support/catcher.ts";
import { bin, canConnect, until } from "../support/relayd.ts";

/** "hold": what is taken stays in the queue until `release`. */
export type Mode = "hold" | "forward";

export interface MailProgram extends AsyncDisposable {
  readonly port: number;
  /** The root of its processes. */
  readonly pid: number;
  /** What comes from now on waits, once more. */
  hold(): Promise<void>;
  /** Sends what was held, and returns at once. */
  release(): Promise<void>;
  /** Messages in its queue. */
  waiting(): number;
}

export interface Place {
  /** An empty directory of its own on the measured disk. */
  readonly directory: string;
  /** The port of the smarthost. */
  readonly sink: number;
  readonly mode: Mode;
}

export type StartProgram = (place: Place) => Promise<MailProgram>;

/** What can be measured here, by name. */
export function mailPrograms(): Readonly<Record<string, StartProgram>> {
  // relayd once more with other options: "--no-commit-journal" is relayd without its journal.
  const variant = process.env.BENCH_VARIANT ?? "";
  const startVariant: StartProgram = (place) =>
    startRelay(process.execPath, [...nodeArguments(), ...variant.split(" ")], place);
  const emailrelay = process.env.BENCH_EMAILRELAY ?? "";
  return {
    relayd: (place) => startRelay(process.execPath, nodeArguments(), place),
    ...(variant === "" ? {} : { variant: startVariant }),
    ...(hasPostfix() ? { postfix: startPostfix } : {}),
    ...(emailrelay === ""
      ? {}
      : { emailrelay: (place: Place) => startRelay(emailrelay, [], place) }),
  };
}

/** BENCH_NODE_OPTIONS: "--cpu-prof", for example. BENCH_RELAYD: another compiled relayd.js. */
function nodeArguments(): readonly string[] {
  const more = (process.env.BENCH_NODE_OPTIONS ?? "").split(" ").filter((word) => word !== "");
  return [...more, process.env.BENCH_RELAYD ?? bin("relayd")];
}

function hasPostfix(): boolean {
  try {
    execFileSync("postconf", ["-h", "mail_version"], { stdio: "pipe" });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

async function startRelay(
  command: string,
  first: readonly string[],
  { directory, sink, mode }: Place,
): Promise<MailProgram> {
  const spool = join(directory, "spool");
  mkdirSync(spool);
  const [port, admin] = [await freePort(), await freePort()];
  const child = spawn(
    command,
    [
      ...first,
      ...["--no-daemon", "--log", "--no-syslog", `--log-file=${directory}/log`, "--user=root"],
      ...["--domain=bench.test", "--interface=127.0.0.1", `--port=${port}`],
      ...[`--spool-dir=${spool}`, `--admin=${admin}`, `--forward-to=127.0.0.1:${sink}`],
      ...(mode === "forward" ? ["--forward-on-disconnect"] : []),
    ],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`${command} ended`);
    return await canConnect(port);
  });
  return {
    port,
    pid: child.pid ?? 0,
    hold: async () => await Promise.resolve(),
    release: async () => await tell(admin, "forward"),
    waiting: () => readdirSync(spool).filter((name) => /\.envelope/.test(name)).length,
    async [Symbol.asyncDispose]() {
      await end(child);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), 20_000);
  await ended;
  clearTimeout(late);
}

async function tell(port: number, command: string): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.resume();
  await once(socket, "connect");
  socket.end(`${command}\r\n`);
}

async function startPostfix({ directory, sink, mode }: Place): Promise<MailProgram> {
  const port = await freePort();
  const config = join(directory, "etc");
  for (const name of ["etc", "queue", "data"]) mkdirSync(join(directory, name));
  writeFileSync(join(config, "main.cf"), mainCf(directory, sink));
  writeFileSync(join(config, "master.cf"), masterCf(port));
  execFileSync("chown", ["postfix", join(directory, "data")]);
  const postfix = (...args: string[]) => run("postfix", ["-c", config, ...args]);
  if (mode === "hold") run("postconf", ["-c", config, "-e", "defer_transports=smtp"]);
  postfix("start");
  await until(() => canConnect(port));
  const pid = Number(readFileSync(join(directory, "queue/pid/master.pid"), "latin1").trim());
  return {
    port,
    pid,
    async hold() {
      await runLater("postconf", ["-c", config, "-e", "defer_transports=smtp"]);
      await runLater("postfix", ["-c", config, "reload"]);
      // What runs by the old settings ends meanwhile.
      await sleep(2000);
    },
    async release() {
      // Not waiting in one piece: the first message may be at the sink before the last of these ends.
      await runLater("postconf", ["-c", config, "-e", "defer_transports="]);
      await runLater("postfix", ["-c", config, "reload"]);
      await runLater("postqueue", ["-c", config, "-f"]);
    },
    waiting: () => countFiles(join(directory, "queue"), ["incoming", "active", "deferred"]),
    async [Symbol.asyncDispose]() {
      postfix("stop");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: "pipe" });
}

const runLater = promisify(execFile);

function countFiles(queue: string, folders: readonly string[]): number {
  return folders.reduce((sum, folder) => {
    const found = readdirSync(join(queue, folder), { withFileTypes: true, recursive: true });
    return sum + found.filter((one) => one.isFile()).length;
  }, 0);
}

/** As Debian sets it up, with everything sent to the smarthost. */
function mainCf(directory: string, sink: number): string {
  return [
    "compatibility_level = 3.6",
    `queue_directory = ${directory}/queue`,
    `data_directory = ${directory}/data`,
    `maillog_file = ${directory}/log`,
    `maillog_file_prefixes = ${directory}`,
    "myhostname = bench.test",
    "mydestination =",
    "alias_maps =",
    "inet_interfaces = loopback-only",
    "inet_protocols = ipv4",
    "mynetworks = 127.0.0.0/8",
    `relayhost = [127.0.0.1]:${sink}`,
    "smtpd_relay_restrictions = permit_mynetworks, reject",
    "",
  ].join("\n");
}

function masterCf(port: number): string {
  return `127.0.0.1:${port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
`;
}
