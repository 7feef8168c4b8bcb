/** What a tree of processes has used so far, from /proc. */
import { readdirSync, readFileSync } from "node:fs";

export interface Usage {
  /** Of all processes of the tree, with those that have ended and were waited for. */
  readonly cpuMs: number;
  /** The highest resident sizes added up; memory that processes share counts more than once. */
  readonly peakMegabytes: number;
}

const TICK_MS = 10;

export function usageOf(root: number): Usage {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    const fields = Number.isInteger(pid) ? statFields(pid) : null;
    if (fields !== null) parents.set(pid, Number(fields[1]));
  }
  let cpuMs = 0;
  let peakMegabytes = 0;
  for (const pid of parents.keys()) {
    if (!descends(pid, root, parents)) continue;
    const ticks = (statFields(pid) ?? []).slice(11, 15).map(Number);
    cpuMs += ticks.reduce((sum, one) => sum + one, 0) * TICK_MS;
    peakMegabytes += peakOf(pid);
  }
  return { cpuMs, peakMegabytes };
}

function descends(pid: number, root: number, parents: ReadonlyMap<number, number>): boolean {
  for (let one: number | undefined = pid; one !== undefined && one > 1; one = parents.get(one)) {
    if (one === root) return true;
  }
  return false;
}

/** From the state on (proc(5), field 3). */
function statFields(pid: number): readonly string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

function peakOf(pid: number): number {
  try {
    const found = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
    return Number(found?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
