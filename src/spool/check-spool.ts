/** Whether a directory may serve as a spool. */
import { accessSync, constants } from "node:fs";
import { isErrno, RelayError } from "../core/errors.ts";
import type { Disk } from "../io/disk.ts";
import { plainReason } from "./storage-errors.ts";

/** The directory is a spool, or SPOOL_INVALID is thrown. */
export function checkSpool(disk: Disk): void {
  const { directory } = disk;
  const invalid = (why: string) =>
    new RelayError("SPOOL_INVALID", directory, `invalid spool directory: ${directory}: ${why}`);
  let kind: string;
  try {
    kind = disk.stat(".")?.kind ?? "missing";
  } catch (error) {
    throw isErrno(error, "EACCES", "ELOOP", "ENAMETOOLONG", "ENOTDIR")
      ? invalid(plainReason(error))
      : error;
  }
  if (kind === "missing") throw invalid("no such file or directory");
  if (kind !== "directory") throw invalid("not a directory");
}

/** A spool that cannot be written to may still be looked at. */
export function warnIfUnwritable(directory: string, warn: (text: string) => void): void {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
  } catch {
    warn(`directory not writable: "${directory}"`);
  }
}
