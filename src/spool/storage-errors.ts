/** What the operating system says about the spool, in the words of the relay. */
import { constants } from "node:os";
import { describeError, isErrno, RelayError } from "../core/errors.ts";

/** No room, on the disk or for so large a file (SPOOL_FULL, the client hears 452), or any other storage trouble (SPOOL_IO, 451). What is not a system error is passed on. */
export function storageError(error: unknown, doing: string, path: string): unknown {
  if (error instanceof RelayError || !isSystemError(error)) return error;
  const full = isErrno(error, "ENOSPC", "EDQUOT", "EFBIG") || isOverQuota(error);
  const code = full ? "SPOOL_FULL" : "SPOOL_IO";
  return new RelayError(code, path, `cannot ${doing} "${path}": ${plainReason(error)}`, {
    cause: error,
  });
}

/** "ENOSPC: no space left on device, write" -> "no space left on device". */
export function plainReason(error: unknown): string {
  if (isOverQuota(error)) return "disk quota exceeded";
  const text = describeError(error);
  return /^[A-Z0-9]+: (.*?)(?:, [a-z]+.*)?$/s.exec(text)?.[1] ?? text;
}

/** Node 20 to 24 have no name for it: its code is "Unknown system error -122". */
function isOverQuota(error: unknown): boolean {
  return isSystemError(error) && error.errno === -constants.errno.EDQUOT;
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && "syscall" in error;
}
