/** The pid file: how init scripts find the daemon. */
import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
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
    throw cannotWrite(path, cause);
  }
}

/** Throws what `writePidFile` would throw, as far as it can be told without writing. */
export function checkPidFile(path: string): void {
  const { O_NONBLOCK, O_WRONLY, W_OK, X_OK } = constants;
  const directory = dirname(path);
  try {
    if (existsSync(path)) {
      closeSync(openSync(path, O_WRONLY | O_NONBLOCK));
    } else {
      const writable = existsSync(directory) ? directory : dirname(directory);
      // The dot: it is to be a directory.
      accessSync(`${writable}/.`, W_OK | X_OK);
    }
  } catch (cause) {
    throw cannotWrite(path, cause);
  }
}

function cannotWrite(path: string, cause: unknown): RelayError {
  const text = `cannot write pid file: ${path}: ${systemText(cause)}`;
  return new RelayError("PID_FILE", "--pid-file", text, { cause });
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
