/** --pop-by-name: the folder of an account, below the spool. */
import { chmodSync, lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { describeError, isErrno, RelayError } from "../core/errors.ts";

const S_ISGID = 0o2000;
const FOLDER_MODE = 0o770;
const MAX_NAME_BYTES = 255;

/** Makes the folder if there is none; its path. Throws SPOOL_INVALID. */
export function enterFolder(spool: string, id: string): string {
  if (!isSimple(id)) throw invalid(spool, "the account name cannot be used as a directory name");
  const path = join(spool, id);
  try {
    makeFolder(path);
    // Not followed: a link could lead out of the spool.
    if (!lstatSync(path).isDirectory()) throw invalid(path, "not a directory");
  } catch (error) {
    throw error instanceof RelayError ? error : invalid(path, describeError(error), error);
  }
  return path;
}

/** Whatever the umask; a group that is handed down (the set-gid bit) stays so. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, FOLDER_MODE);
    chmodSync(path, (lstatSync(path).mode & S_ISGID) | FOLDER_MODE);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
}

/** One name, neither hidden nor that of a spool file. U+FFFD stands for bytes that were no UTF-8, and two such ids would look the same. */
function isSimple(id: string): boolean {
  if (id === "" || Buffer.byteLength(id) > MAX_NAME_BYTES) return false;
  if (/^\.|\/|\p{Cc}|\uFFFD/u.test(id)) return false;
  return !/\.(?:content|envelope(?:\.\w+)*)$/.test(id);
}

function invalid(path: string, why: string, cause?: unknown): RelayError {
  return new RelayError("SPOOL_INVALID", path, `cannot use mailbox "${path}": ${why}`, { cause });
}
