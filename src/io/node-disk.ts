/**
 * Disk over node:fs. Synchronous calls where a call takes microseconds (they are several times
 * faster than a trip through the thread pool); syncs and bulk data go through the pool, so that a
 * slow device never holds up the other sessions. Measured with one message at a time: a
 * synchronous fsync is no faster than one through the pool.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  write,
  writeSync,
} from "node:fs";
import { isErrno } from "../core/errors.ts";
import type { Disk, DiskFile, FileFacts } from "./disk.ts";
import { nodeJournaling } from "./journaling.ts";
import { nodeReading, READ } from "./reading.ts";

const FILE_MODE = 0o660;
const DIRECTORY_MODE = 0o770;
const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
const CREATE = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;

export function nodeDisk(directory: string): Disk {
  const path = (name: string) => (name === "." ? directory : `${directory}/${name}`);
  const rights: Rights = { asked: false, sameAsGiven: false };
  return {
    directory,
    journaling: nodeJournaling(directory),
    reading: nodeReading(directory),
    create: (name) => createFile(path(name), rights),
    open: (name) => new NodeFile(openSync(path(name), READ)),
    stat: (name) => statName(directory, name),
    link: (target, name) => linkSync(target, path(name)),
    makeDirectory: (name) => makeDirectory(path(name)),
    rename: (from, to) => renameSync(path(from), path(to)),
    remove: (name) => unlinkSync(path(name)),
    list: (folder = ".") => readdirSync(path(folder)),
    listKinds: () => listKinds(directory),
    syncDirectory: async (folder = ".") => await syncDirectory(path(folder)),
  };
}

/** Whether new files get the rights that are asked for: known after the first one. */
interface Rights {
  asked: boolean;
  sameAsGiven: boolean;
}

function createFile(path: string, rights: Rights): DiskFile {
  const fd = openSync(path, CREATE, FILE_MODE);
  if (rights.sameAsGiven) return new NodeFile(fd);
  try {
    if (!rights.asked) {
      rights.asked = true;
      rights.sameAsGiven = (fstatSync(fd).mode & 0o777) === FILE_MODE;
    }
    // The umask, or what the directory says, may have taken rights away that filters and other programs of the group need.
    fchmodSync(fd, FILE_MODE);
  } catch (error) {
    // File systems without modes have nothing to set.
    if (!isErrno(error, "EPERM", "ENOSYS", "ENOTSUP")) {
      closeSync(fd);
      unlinkSync(path);
      throw error;
    }
  }
  return new NodeFile(fd);
}

function makeDirectory(path: string): void {
  mkdirSync(path, DIRECTORY_MODE);
  const fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    fchmodSync(fd, (fstatSync(fd).mode & 0o7777) | DIRECTORY_MODE);
  } catch (error) {
    if (!isErrno(error, "EPERM", "ENOSYS", "ENOTSUP")) throw error;
  } finally {
    closeSync(fd);
  }
}

function statName(directory: string, name: string): FileFacts | null {
  // The directory itself may be reached through a symbolic link; what is in it may not.
  const stats =
    name === "."
      ? statSync(directory, { throwIfNoEntry: false })
      : lstatSync(`${directory}/${name}`, { throwIfNoEntry: false });
  return stats === undefined ? null : factsOf(stats);
}

/** Takes no longer than the names alone where the directory has the kinds too. */
function listKinds(directory: string): ReturnType<Disk["listKinds"]> {
  try {
    const names: string[] = [];
    const others = new Set<string>();
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      names.push(entry.name);
      if (!entry.isFile()) others.add(entry.name);
    }
    return { names, others };
  } catch {
    // Where it has not, each name is looked at, and one that goes meanwhile ends the listing.
    const names = readdirSync(directory);
    return { names, others: new Set(names) };
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const fd = openSync(directory, O_RDONLY);
  try {
    await syncDescriptor(fd);
    // XFS that has shut itself down meanwhile, after a fault of its disk, says that all is well, but not that the
    // directory can be looked at.
    fstatSync(fd);
  } finally {
    closeSync(fd);
  }
}

function syncDescriptor(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fsync(fd, (error) => (error === null ? resolve() : reject(error)));
  });
}

function factsOf(stats: Stats): FileFacts {
  const kind = stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other";
  return {
    kind,
    size: stats.size,
    inode: stats.ino,
    device: stats.dev,
    modifiedMs: stats.mtimeMs,
    changedMs: stats.ctimeMs,
  };
}

class NodeFile implements DiskFile {
  #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  facts(): FileFacts {
    return factsOf(fstatSync(this.#fd));
  }

  append(bytes: Uint8Array): void {
    // A write may be cut short (a full disk, a signal); the rest then succeeds or says why not.
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done);
  }

  async appendLater(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) done += await this.#writeSome(bytes.subarray(done));
  }

  readAll(size = this.facts().size): Buffer {
    const buffer = Buffer.allocUnsafe(size);
    let done = 0;
    while (done < buffer.length) {
      const count = readSync(this.#fd, buffer, done, buffer.length - done, done);
      if (count === 0) break;
      done += count;
    }
    return buffer.subarray(0, done);
  }

  read(buffer: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.#fd, buffer, 0, buffer.length, position, (error, count) =>
        error === null ? resolve(count) : reject(error),
      );
    });
  }

  async sync(): Promise<void> {
    await syncDescriptor(this.#fd);
  }

  close(): void {
    if (this.#fd === -1) return;
    const fd = this.#fd;
    this.#fd = -1;
    closeSync(fd);
  }

  #writeSome(bytes: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      write(this.#fd, bytes, 0, bytes.length, null, (error, count) =>
        error === null ? resolve(count) : reject(error),
      );
    });
  }
}
