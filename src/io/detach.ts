/**
 * Going into the background. Node cannot fork, so the foreground process starts itself anew in a
 * session of its own and waits until that one says that its ports are open, or why it failed.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { Writable } from "node:stream";

/** Names the descriptor on which the background process reports; the next one has the text for it. Set only by `detach`. */
const STATUS_VARIABLE = "RELAYD_STATUS_FD";

/** Starts this program again in the background; resolves to the exit code for the foreground. */
export async function detach(options: {
  readonly execPath: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Listening descriptors to hand on (`fd#<n>`). */
  readonly descriptors: readonly number[];
  /** For the other side's `handedText`. It may hold secrets, so that no argument or variable will do. */
  readonly text: string;
}): Promise<number> {
  const status = Math.max(3, ...options.descriptors.map((fd) => fd + 1));
  const handsOn = (fd: number) => fd === 1 || fd === 2 || options.descriptors.includes(fd);
  const stdio: ("ignore" | "pipe" | number)[] = [];
  for (let fd = 0; fd < status; fd++) stdio.push(handsOn(fd) ? fd : "ignore");
  stdio.push("pipe", "pipe");
  const child = spawn(options.execPath, options.args, {
    detached: true,
    stdio,
    env: { ...options.env, [STATUS_VARIABLE]: String(status) },
  });
  return await new Promise((resolve) => {
    let said = "";
    const handed = child.stdio[status + 1];
    // The background process may be gone before it has read all.
    handed?.on("error", () => undefined);
    if (handed instanceof Writable) handed.end(options.text);
    child.on("error", (error) => {
      process.stderr.write(`cannot start in the background: ${error.message}\n`);
      resolve(1);
    });
    child.stdio[status]?.on("data", (data: Buffer) => {
      said += data.toString("latin1");
      if (!said.includes("ready\n")) return;
      child.unref();
      resolve(0);
    });
    child.on("exit", (code) => resolve(said.includes("ready\n") ? 0 : (code ?? 1)));
  });
}

/** The background process's side: null when this is not one. */
export interface Background {
  /** The text that the foreground process had for it; null when that cannot be read. */
  readonly handedText: string | null;
  /** The ports are open: lets the foreground process go. */
  ready(): void;
}

export function background(env: Record<string, string | undefined>): Background | null {
  const text = env[STATUS_VARIABLE];
  if (text === undefined || !/^\d+$/.test(text)) return null;
  delete env[STATUS_VARIABLE];
  const fd = Number(text);
  return {
    handedText: readToEnd(fd + 1),
    ready() {
      try {
        writeSync(fd, "ready\n");
        closeSync(fd);
      } catch {
        // The foreground process was killed while it waited: the daemon runs all the same.
      }
    },
  };
}

function readToEnd(fd: number): string | null {
  try {
    const text = readFileSync(fd, "utf8");
    closeSync(fd);
    return text;
  } catch {
    return null;
  }
}

/** Descriptors above 2 that the caller leaked into us (not close-on-exec) are closed, but for `keep`. */
export function closeLeaked(keep: readonly number[]): void {
  const O_CLOEXEC = 0o2000000;
  for (const name of listDescriptors()) {
    const fd = Number(name);
    if (fd <= 2 || keep.includes(fd)) continue;
    try {
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"));
      if (flags && (Number.parseInt(flags[1] ?? "0", 8) & O_CLOEXEC) === 0) closeSync(fd);
    } catch {
      // It was the descriptor of the listing itself.
    }
  }
}

function listDescriptors(): readonly string[] {
  try {
    return readdirSync("/proc/self/fd");
  } catch {
    return [];
  }
}

/** Points a standard descriptor at /dev/null, so that its number is never used for anything else. */
export function silence(fd: 0 | 1 | 2): void {
  closeSync(fd);
  openSync("/dev/null", fd === 0 ? "r" : "w");
}
