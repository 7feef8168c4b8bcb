/** Other people's programs: whether they are installed, and running them to their end or in the background. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import type { Ran } from "./relayd.ts";

const FOLDERS = [
  ...(process.env.PATH ?? "").split(":"),
  ...["/usr/sbin", "/sbin", "/usr/lib/postfix/sbin"],
];

/** For a test's `skip`: false when all are there, otherwise which one is not. With CI=true absence
 *  is no excuse: nothing is skipped, and what needs the program fails. A path is looked for as it is. */
export function present(...programs: readonly string[]): string | false {
  if (process.env.CI === "true") return false;
  const missing = programs.find((program) => locate(program) === null);
  return missing === undefined ? false : `${missing} is not installed`;
}

function locate(program: string): string | null {
  const paths = program.startsWith("/")
    ? [program]
    : FOLDERS.map((folder) => join(folder, program));
  return paths.find(exists) ?? null;
}

function exists(path: string): boolean {
  try {
    accessSync(path, path.endsWith("/") ? constants.R_OK : constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export interface PeerInput {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end, within a minute. Texts are latin1. */
export async function runPeer(
  program: string,
  args: readonly string[],
  { input = "", env = {} }: PeerInput = {},
): Promise<Ran> {
  const child = start(program, args, env);
  const watchdog = setTimeout(() => child.kill("SIGKILL"), 60_000);
  child.stdin?.on("error", () => undefined).end(input);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (text: Buffer) => {
    stdout += text.toString("latin1");
  });
  child.stderr?.on("data", (text: Buffer) => {
    stderr += text.toString("latin1");
  });
  try {
    const [code] = (await once(child, "close")) as [number | null];
    return { code, stdout, stderr };
  } finally {
    clearTimeout(watchdog);
  }
}

/** Starts a program that serves until the test is over; its output is dropped. */
export function servePeer(program: string, args: readonly string[]): ChildProcess {
  const child = start(program, args, {});
  child.stdout?.resume();
  child.stderr?.resume();
  after(() => child.kill("SIGKILL"));
  return child;
}

function start(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): ChildProcess {
  return spawn(locate(program) ?? program, args, {
    stdio: "pipe",
    // A home and settings of the user's own must not change what a program does.
    env: { PATH: FOLDERS.join(":"), LC_ALL: "C.UTF-8", HOME: "/nonexistent", ...env },
  });
}
