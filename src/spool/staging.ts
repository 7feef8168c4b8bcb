/**
 * Files that appear whole or not at all: written under a temporary name and synced, then renamed.
 * Without the sync a power cut could leave the final name with nothing behind it.
 */
import { isErrno, RelayError } from "../core/errors.ts";
import type { Disk, DiskFile } from "../io/disk.ts";

const CHUNK_BYTES = 256 * 1024;

/** How a file comes by its bytes. */
export type Fill = (file: DiskFile) => void | Promise<void>;

export const filledWith =
  (bytes: Uint8Array): Fill =>
  (file) =>
    file.append(bytes);

/** A copy of another open file, from its start. */
export const copyOf =
  (source: DiskFile): Fill =>
  async (file) => {
    const { size } = source.facts();
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(CHUNK_BYTES, size)));
    let done = 0;
    while (done < size) {
      const count = await source.read(buffer, done);
      if (count === 0)
        throw new RelayError("SPOOL_IO", "", `file ended after ${done} of ${size} bytes`);
      await file.appendLater(buffer.subarray(0, count));
      done += count;
    }
  };

/** Two names of one file, or the same bytes in both. */
export async function haveSameBytes(one: DiskFile, other: DiskFile): Promise<boolean> {
  const { size, inode, device } = one.facts();
  const facts = other.facts();
  if (facts.inode === inode && facts.device === device) return true;
  if (facts.size !== size) return false;
  const a = Buffer.allocUnsafe(Math.max(1, Math.min(CHUNK_BYTES, size)));
  const b = Buffer.allocUnsafe(a.length);
  for (let done = 0; done < size; ) {
    const count = Math.min(await one.read(a, done), await other.read(b, done));
    if (count === 0 || !a.subarray(0, count).equals(b.subarray(0, count))) return false;
    done += count;
  }
  return true;
}

/** Writes a new file; nothing is left of it when that fails. */
export async function stage(disk: Disk, name: string, sync: boolean, fill: Fill): Promise<void> {
  const file = disk.create(name);
  try {
    await fill(file);
    if (sync) await file.sync();
  } catch (error) {
    removeQuietly(disk, name);
    throw error;
  } finally {
    file.close();
  }
}

/** Replaces a file, or makes it. A crash leaves the old one, and perhaps the temporary one. */
export async function replace(disk: Disk, name: string, sync: boolean, fill: Fill): Promise<void> {
  const temporary = temporaryName(name);
  removeQuietly(disk, temporary); // Left by a crash while the same message was in hand before.
  await stage(disk, temporary, sync, fill);
  settle(disk, temporary, name);
}

/** Gives a staged file its final name. */
export function settle(disk: Disk, temporary: string, name: string): void {
  try {
    disk.rename(temporary, name);
  } catch (error) {
    removeQuietly(disk, temporary);
    throw error;
  }
}

export const temporaryName = (name: string): string => `${name}.tmp`;

/** A hard link to an open file under a new name; false where there can be none. Throws EEXIST. */
export function tryLink(
  disk: Disk,
  target: { readonly path: string; readonly file: DiskFile },
  name: string,
): boolean {
  try {
    disk.link(target.path, name);
  } catch (error) {
    if (isErrno(error, "EXDEV", "EPERM", "EACCES", "EMLINK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP")) {
      return false;
    }
    throw error;
  }
  if (disk.stat(name)?.inode === target.file.facts().inode) return true;
  // Something else has taken the place of the file that we opened.
  removeQuietly(disk, name);
  return false;
}

/** False if there was none. */
export function removeIfThere(disk: Disk, name: string): boolean {
  try {
    disk.remove(name);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/** For what is given up: false only if there was none. What cannot be removed is left to recovery. */
export function removeQuietly(disk: Disk, name: string): boolean {
  try {
    return removeIfThere(disk, name);
  } catch {
    return true;
  }
}
