/** Small programs in a directory of their own, for what runs other people's programs. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";
import type { Journal, RelayEvent } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";

export interface Programs extends Disposable {
  readonly directory: string;
  /** A shell script with these lines; its path. */
  script(name: string, ...lines: readonly string[]): string;
  /** Any file, readable for everybody. */
  file(name: string, text: string, mode?: number): string;
}

/** Everybody may enter the directory and write into it: programs run as other users too. */
export function tempPrograms(): Programs {
  const directory = mkdtempSync(join(tmpdir(), "relayd-programs-"));
  chmodSync(directory, 0o777);
  const file = (name: string, text: string, mode = 0o755) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  return {
    directory,
    file,
    script: (name, ...lines) => file(name, ["#!/bin/sh", ...lines, ""].join("\n")),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** A journal that keeps its notes as "level text", verbose ones as "detail text". */
export function noteKeeper(): { journal: Journal; notes: string[] } {
  const notes: string[] = [];
  const tell = (event: RelayEvent) => {
    if (event.kind !== "note") return;
    notes.push(`${event.detail ? "detail" : event.level} ${event.text}`);
  };
  return { journal: { tell, detail: true }, notes };
}

/** The system's time, except that sleeping takes none; `slept` is what was asked. */
export function sleeplessClock(): { clock: Clock; slept: number[] } {
  const slept: number[] = [];
  const sleep = async (ms: number, signal: AbortSignal) => {
    signal.throwIfAborted();
    slept.push(ms);
  };
  return { clock: { ...systemClock, sleep }, slept };
}

/** Polls, for at most ten seconds, for what other processes do. */
export async function eventually(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i += 1) {
    if (holds()) return;
    await delay(20);
  }
  throw new Error(`never happened: ${what}`);
}

/** False for a process that is gone or only waits to be reaped by somebody. */
export function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}
