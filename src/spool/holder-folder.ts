/** Where the files of the holders are: whoever may write into the spool may write there. */
import { chmodSync, chownSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { isErrno } from "../core/errors.ts";

/** The folder of the holders' files, and the one that it is in. Throws what the disk throws, but EEXIST. */
export function makeFolders(spool: string, folder: string): void {
  for (const path of [join(spool, ".relayd"), folder]) {
    try {
      mkdirSync(path, 0o770);
      likeSpool(spool, path, 0o770);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
  }
}

/** Owned like the spool, so that whoever may write there can register, whatever account we run as later. */
export function likeSpool(spool: string, path: string, mode: number): void {
  const { uid, gid } = statSync(spool);
  try {
    chownSync(path, uid, gid);
  } catch {
    // Only root can; then the group is inherited or ours.
  }
  try {
    chmodSync(path, mode | (statSync(path).mode & 0o2000));
  } catch {
    // A file system without modes.
  }
}
