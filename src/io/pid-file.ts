/** The pid file: how init scripts find the daemon. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { RelayError } from "../core/errors.ts";
import { systemText } from "./system-text.ts";

/**
 * Writes `<pid>\n`, mode 0644, group of the given id; makes the directory (one level, 0775) if it is missing.
 * Throws PID_FILE, and leaves no file with our pid then.
 */
export function writePidFile(path: string, pid: number, gid: number | null): void {
  try {
    write(path, pid, gid);
  } catch (cause) {
    removePidFile(path, pid);
    const text = `cannot write pid file: ${path}: ${systemText(cause)}`;
    throw new RelayError("PID_FILE", "--pid-file", text, { cause });
  }
}

function write(path: string, pid: number, gid: number | null): void {
  const directory = dirname(path);
  if (!existsSync(directory)) {
    mkdirSync(directory);
    chmodSync(directory, 0o775);
    if (gid !== null) chownSync(directory, 0, gid);
  }
  writeFileSync(path, `${pid}\n`);
  chmodSync(path, 0o644);
  if (gid !== null) chownSync(path, 0, gid);
}

/** Removes the file only if it still holds this pid. Never throws: the process is ending. */
export function removePidFile(path: string, pid: number): void {
  try {
    if (readFileSync(path, "utf8").trim() === String(pid)) unlinkSync(path);
  } catch {
    // Gone already, or not ours to remove.
  }
}
