/** Which processes of this machine are alive, and since when. Source: proc(5), /proc/PID/stat. */
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { isErrno } from "../core/errors.ts";

/** Where a process id means something. */
export interface Home {
  readonly host: string;
  /** Changes with every boot; "" where the system does not tell. */
  readonly boot: string;
  /** PID namespace; "" where there is none. */
  readonly namespace: string;
}

export interface ProcessTable {
  readonly home: Home;
  readonly pid: number;
  /** Start time in clock ticks since boot; "0" where the system does not tell; null when there is no such process. */
  startOf(pid: number): string | null;
  /** Milliseconds since 1970, to a second or so; null when unknown or no such process. */
  startedAtMs(pid: number): number | null;
}

const TICKS_PER_SECOND = 100;

export function systemProcesses(): ProcessTable {
  const boot = readOr("", "/proc/sys/kernel/random/boot_id").trim();
  const bootSeconds = Number(/^btime (\d+)$/m.exec(readOr("", "/proc/stat"))?.[1] ?? Number.NaN);
  return {
    home: { host: hostname(), boot, namespace: ownNamespace() },
    pid: process.pid,
    startOf,
    startedAtMs(pid) {
      const start = startOf(pid);
      if (start === null || start === "0" || Number.isNaN(bootSeconds)) return null;
      return (bootSeconds + Number(start) / TICKS_PER_SECOND) * 1000;
    },
  };
}

function startOf(pid: number): string | null {
  const stat = readOr("", `/proc/${pid}/stat`);
  // The command, in parentheses, may contain anything; the fields after it count from the state.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  // A killed process whose parent has not noticed yet holds nothing any more.
  if (state === "Z" || state === "X") return null;
  if (stat !== "") return fields[19] ?? "0";
  return canSignal(pid) ? "0" : null;
}

/** For systems without /proc, or with one that hides the processes of others. */
function canSignal(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return isErrno(error, "EPERM");
  }
}

function ownNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}

function readOr(otherwise: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}
