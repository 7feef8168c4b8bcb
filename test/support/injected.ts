/** Makes system calls of a running program fail, with strace. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { present, runPeer } from "./peer.ts";
import type { TestRelay } from "./relayd.ts";

/** For a test's `skip`. */
export async function cannotTrace(): Promise<string | false> {
  const missing = present("strace");
  if (missing !== false || process.env.CI === "true") return missing;
  const { code } = await runPeer("strace", ["-f", "-o", "/dev/null", "true"]);
  return code === 0 ? false : "strace may not trace here";
}

export const CALLS = {
  open: "openat",
  write: "write,writev,pwrite64",
  sync: "fsync,fdatasync",
  rename: "rename,renameat,renameat2",
  remove: "unlink,unlinkat",
} as const;

/** What each call is made to say. */
export const ERRORS = ["ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE"];

export const FULL = /^452 4\.3\.1 insufficient system storage$/;
export const TROUBLE = /^451 4\.3\.0 local storage error$/;

/** What a client must hear then. */
export const replyTo = (error: string): RegExp =>
  ["ENOSPC", "EDQUOT", "EFBIG"].includes(error) ? FULL : TROUBLE;

export interface Fault {
  readonly calls: readonly (keyof typeof CALLS)[];
  /** Only calls about these paths; of a rename, the old one. */
  readonly paths: readonly string[];
  readonly error: string;
  /** Which renames, as strace has it: "2+" for all but the first. All, when absent. */
  readonly renames?: string;
}

/** The names of the `nth` message that relayd makes, if it does so within the next seconds. */
export function pathsOf(relay: TestRelay, nth: number, endings: readonly string[]): string[] {
  const now = Math.floor(Date.now() / 1000);
  return Array.from({ length: 25 }, (_, n) =>
    endings.map((ending) =>
      join(relay.spool, `emailrelay.${relay.child.pid}.${now + n - 1}.${nth}${ending}`),
    ),
  ).flat();
}

/** Does `work` while the fault lasts. */
export async function whileFailing<T>(
  pid: number,
  { calls, paths, error, renames }: Fault,
  work: () => Promise<T>,
): Promise<{ result: T; struck: number }> {
  const folder = mkdtempSync(join(tmpdir(), "relayd-strace-"));
  const output = join(folder, "trace");
  const names = calls.map((call) => CALLS[call]).join(",");
  const injections = calls.map((call) => {
    const when = call === "rename" && renames !== undefined ? `:when=${renames}` : "";
    return ["-e", `inject=${CALLS[call]}:error=${error}${when}`];
  });
  const only = paths.flatMap((path) => ["-P", path]);
  const args = ["-f", "-p", String(pid), "-o", output, ...only];
  const what = ["-e", `trace=${names}`, ...injections.flat()];
  const strace = spawn("strace", [...args, ...what], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(strace, "exit");
  try {
    await attached(strace.stderr);
    const result = await work();
    // What was set off may still be under way.
    for (let tries = 0; tries < 40 && struckIn(output) === 0; tries++) await sleep(50);
    strace.kill("SIGINT");
    await ended;
    return { result, struck: struckIn(output) };
  } finally {
    strace.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

function struckIn(output: string): number {
  return readFileSync(output, "latin1").split("(INJECTED)").length - 1;
}

/** It is read to its end: strace would die of a reader that went away as soon as it has more to say. */
async function attached(stderr: NodeJS.ReadableStream): Promise<void> {
  let text = "";
  await new Promise<void>((resolve, reject) => {
    stderr.on("data", (chunk) => {
      text += String(chunk);
      if (text.includes(" attached")) resolve();
    });
    stderr.on("end", () => reject(new Error(`strace: ${text}`)));
  });
}
