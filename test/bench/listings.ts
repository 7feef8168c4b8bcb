/** How often a running process lists a directory, as strace sees it. */
import { spawn } from "node:child_process";
import { once } from "node:events";

/** Listings while the work is done: each ends with a call that finds nothing more. NaN without strace. */
export async function listingsDuring(pid: number, work: () => Promise<unknown>): Promise<number> {
  const args = ["-f", "-e", "trace=getdents64", "-p", String(pid)];
  const strace = spawn("strace", args, { stdio: ["ignore", "ignore", "pipe"] });
  let seen = "";
  const attached = new Promise<boolean>((resolve) => {
    strace.stderr.on("data", (data: Buffer) => {
      seen += data.toString("latin1");
      if (seen.includes("attached")) resolve(true);
    });
    strace.on("error", () => resolve(false));
    strace.on("close", () => resolve(false));
  });
  if (!(await attached)) {
    await work();
    return Number.NaN;
  }
  const ended = once(strace, "close");
  try {
    await work();
  } finally {
    strace.kill("SIGINT");
    await ended;
  }
  return seen.match(/getdents64.*\) += 0$/gm)?.length ?? 0;
}
