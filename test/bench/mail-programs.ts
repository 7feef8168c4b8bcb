/** The compared programs: relayd, Debian's Postfix, and any program with E-MailRelay's options. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "../support/catcher.ts";
import { bin, canConnect, until } from "../support/relayd.ts";
import { hasPostfix, startPostfix } from "./postfix.ts";

/**
 * "hold": what is taken stays in the queue until `release`. "poll": it is forwarded, also what comes from a client that
 * stays connected.
 */
export type Mode = "hold" | "forward" | "poll";

export interface MailProgram extends AsyncDisposable {
  readonly port: number;
  /** The root of its processes. */
  readonly pid: number;
  /** What comes from now on waits, once more. */
  hold(): Promise<void>;
  /** Everything that `release` would have to do first, such as to read settings anew. */
  prepareRelease(): Promise<void>;
  /** Tells it to send what was held: one command, no more. */
  release(): Promise<void>;
  /** Messages in its queue. */
  waiting(): number;
}

/** relayd, or a program with E-MailRelay's options. */
export interface RelayProgram extends MailProgram {
  /** Ends it; what waits in its queue stays there. */
  end(): Promise<void>;
}

export interface Place {
  /** A directory of its own on the measured disk. */
  readonly directory: string;
  /** The port of the smarthost. */
  readonly sink: number;
  readonly mode: Mode;
  /** To the smarthost at a time, at most; null for what the program does by itself. */
  readonly connections: number | null;
  /** More options for relayd. */
  readonly relaydOptions: readonly string[];
}

export type StartProgram = (place: Place) => Promise<MailProgram>;

/** What can be measured here, by name. */
export function mailPrograms(): Readonly<Record<string, StartProgram>> {
  // relayd once more with other options: "--no-commit-journal" is relayd without its journal.
  const variant = words(process.env.BENCH_VARIANT);
  const emailrelay = process.env.BENCH_EMAILRELAY ?? "";
  const settings = (process.env.BENCH_POSTFIX_SETTINGS ?? "").split(";");
  return {
    relayd: (place) => startRelayd(place),
    ...(variant.length === 0
      ? {}
      : { variant: (place: Place) => startRelayd(place, { more: variant }) }),
    ...(hasPostfix() ? { postfix: (place: Place) => startPostfix(place, settings) } : {}),
    ...(emailrelay === "" ? {} : { emailrelay: (place: Place) => startRelay([emailrelay], place) }),
  };
}

/** BENCH_NODE_OPTIONS: "--cpu-prof", for example. BENCH_RELAYD: another compiled relayd.js. */
export async function startRelayd(
  place: Place,
  { more = [] }: { more?: readonly string[] } = {},
): Promise<RelayProgram> {
  const { connections, relaydOptions } = place;
  const limit = connections === null ? [] : [`--forward-parallel=${connections}`];
  const program = process.env.BENCH_RELAYD ?? bin("relayd");
  const node = [process.execPath, ...words(process.env.BENCH_NODE_OPTIONS), program];
  return await startRelay([...node, ...limit, ...relaydOptions, ...more], place);
}

function words(text = ""): readonly string[] {
  return text.split(" ").filter((word) => word !== "");
}

async function startRelay(
  [command = "", ...first]: readonly string[],
  { directory, sink, mode }: Place,
): Promise<RelayProgram> {
  const spool = join(directory, "spool");
  mkdirSync(spool, { recursive: true });
  const [port, admin] = [await freePort(), await freePort()];
  const child = spawn(
    command,
    [
      ...first,
      ...["--no-daemon", "--log", "--no-syslog", `--log-file=${directory}/log`, "--user=root"],
      ...["--domain=bench.test", "--interface=127.0.0.1", `--port=${port}`],
      ...[`--spool-dir=${spool}`, `--admin=${admin}`, `--forward-to=127.0.0.1:${sink}`],
      ...(mode === "hold" ? [] : ["--forward-on-disconnect"]),
      ...(mode === "poll" ? ["--poll=1"] : []),
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
    // It sends only what it is told to.
    hold: async () => await Promise.resolve(),
    prepareRelease: async () => await Promise.resolve(),
    release: async () => await tell(admin, "forward"),
    end: async () => await end(child),
    waiting: () => readdirSync(spool).filter((name) => /\.envelope/.test(name)).length,
    async [Symbol.asyncDispose]() {
      await end(child);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Node with relayd's calls and nothing else: bare-node.ts. */
export async function startBareNode({ directory, sink }: Place): Promise<MailProgram> {
  const folder = join(directory, "files");
  mkdirSync(folder);
  const program = join(import.meta.dirname, "bare-node.js");
  const child = spawn(process.execPath, [program, folder, String(sink)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [printed] = (await once(child.stdout, "data")) as [Buffer];
  const nothing = async () => await Promise.resolve();
  return {
    port: Number(printed.toString("latin1")),
    pid: child.pid ?? 0,
    ...{ hold: nothing, prepareRelease: nothing, release: nothing },
    waiting: () => readdirSync(folder).length,
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
