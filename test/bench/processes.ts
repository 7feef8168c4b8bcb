/** What a tree of processes has used so far, from /proc. */
import { readdirSync, readFileSync } from "node:fs";

export interface Usage {
  /** Of all processes of the tree, with those that have ended and were waited for. */
  readonly cpuMs: number;
  /** The highest resident sizes of those that run, added up; the programs and libraries in them count once. */
  readonly peakMegabytes: number;
}

const TICK_MS = 10;

export function usageOf(root: number): Usage {
  let cpuMs = 0;
  let peakOfOwn = 0;
  let ofFiles = 0;
  for (const pid of treeOf(root)) {
    const ticks = (statFields(pid) ?? []).slice(11, 15).map(Number);
    cpuMs += ticks.reduce((sum, one) => sum + one, 0) * TICK_MS;
    const memory = memoryOf(pid);
    peakOfOwn += memory.peak - memory.ofFiles;
    ofFiles = Math.max(ofFiles, memory.ofFiles);
  }
  return { cpuMs, peakMegabytes: peakOfOwn + ofFiles };
}

/** Process ids. */
export function childrenNamed(parent: number, name: string): readonly number[] {
  return [...parents()]
    .filter(([pid, of]) => of === parent && read(pid, "comm").trim() === name)
    .map(([pid]) => pid);
}

/** Megabytes resident. `peak` is since the start or since it was cleared. */
export function memoryOf(pid: number): { now: number; peak: number; ofFiles: number } {
  const status = read(pid, "status");
  const megabytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) / 1024;
  return { now: megabytes("VmRSS"), peak: megabytes("VmHWM"), ofFiles: megabytes("RssFile") };
}

function treeOf(root: number): readonly number[] {
  const all = parents();
  return [...all.keys()].filter((pid) => {
    for (let one: number | undefined = pid; one !== undefined && one > 1; one = all.get(one)) {
      if (one === root) return true;
    }
    return false;
  });
}

/** Every process with its parent. */
function parents(): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    const fields = Number.isInteger(pid) ? statFields(pid) : null;
    if (fields !== null) found.set(pid, Number(fields[1]));
  }
  return found;
}

/** From the state on (proc(5), field 3); null when there is no such process any more. */
function statFields(pid: number): readonly string[] | null {
  const text = read(pid, "stat");
  return text === "" ? null : text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function read(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch {
    return "";
  }
}
