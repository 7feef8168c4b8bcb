/** Whether something is there: the one question that reading options asks the disk. */
import { statSync } from "node:fs";

export function pathExists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
