/** Whether something is there: the one question that reading options asks the disk. */
import { statSync } from "node:fs";
import { isErrno } from "../core/errors.ts";

/** True also for what cannot be looked at: opening it will say why. Never throws. */
export function pathExists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    return !isErrno(error, "ENOTDIR");
  }
}
