/** Makes system calls of a running program fail, with strace. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { present, runPeer } from "./peer.ts";

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

export interface Fault {
  readonly calls: readonly (keyof typeof CALLS)[];
  /** Only calls about these paths. */
  readonly paths: readonly string[];
  readonly error: string;
}

/** Does `work` while the fault lasts. Throws unless it has struck. */
export async function whileFailing<T>(
  pid: number,
  { calls, paths, error }: Fault,
  work: () => Promise<T>,
): Promise<{ result: T; struck: number }> {
  const folder = mkdtempSync(join(tmpdir(), "relayd-strace-"));
  const output = join(folder, "trace");
  const names = calls.map((call) => CALLS[call]).join(",");
  const only = paths.flatMap((path) => ["-P", path]);
  const args = ["-f", "-p", String(pid), "-o", output, ...only];
  const what = ["-e", `trace=${names}`, "-e", `inject=${names}:error=${error}`];
  const strace = spawn("strace", [...args, ...what], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(strace, "exit");
  try {
    await attached(strace.stderr);
    const result = await work();
    strace.kill("SIGINT");
    await ended;
    const struck = readFileSync(output, "latin1").split("(INJECTED)").length - 1;
    return { result, struck };
  } finally {
    strace.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

async function attached(stderr: NodeJS.ReadableStream): Promise<void> {
  let text = "";
  for await (const chunk of stderr) {
    text += String(chunk);
    if (text.includes(" attached")) break;
  }
  if (!text.includes(" attached")) throw new Error(`strace: ${text}`);
}
