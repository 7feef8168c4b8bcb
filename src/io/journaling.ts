/** What a commit journal needs from a disk beside files and names. */
import { execFile } from "node:child_process";
import {
  closeSync,
  constants,
  fchmodSync,
  fdatasync,
  fstatSync,
  fsync,
  openSync,
  readFileSync,
  statfsSync,
  statSync,
  unlinkSync,
  write,
  writeSync,
} from "node:fs";
import { join } from "node:path";

export interface Journaling {
  /** Facts about the file system that the directory is on. */
  fileSystem(): FileSystemFacts;
  /** Makes a file whose blocks are all written, so that syncing bytes put over them changes nothing but them. Throws EEXIST, ENOSPC ... */
  preallocate(name: string, bytes: number): Promise<BlockFile>;
  /**
   * Opens a file to append to, and makes it if there is none, without waiting for a fifo's other end. Others may append
   * to it at the same time. Not for syncing.
   */
  openToAppend(name: string): AppendFile;
  /** Makes everything that was written to the file system before survive a power cut. */
  syncAll(): Promise<void>;
}

export interface FileSystemFacts {
  /** Bytes that may still be used. */
  readonly freeBytes: number;
  /** True for a kind that is known to be on a disk of this machine, and to keep what was synced. */
  readonly known: boolean;
  /** True if the sync of a new file is known to make its name survive a power cut too, which POSIX leaves open. */
  readonly syncsNames: boolean;
}

export interface AppendFile {
  /** At once, behind everything in the file. */
  append(bytes: Uint8Array): void;
  close(): void;
}

/** A file of fixed size. */
export interface BlockFile {
  /** At once; within the size. */
  write(bytes: Uint8Array, position: number): void;
  /** Makes what was written survive a power cut. After it failed once, never believe a second call. */
  sync(): Promise<void>;
  facts(): { readonly device: number; readonly inode: number };
  close(): void;
}

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDWR, O_WRONLY } = constants;
const APPEND = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
const FILE_MODE = 0o660;
/** By the numbers of statfs(2): XFS, Btrfs, F2FS, ZFS. */
const NAME_SYNCING_KINDS: ReadonlySet<number> = new Set([
  ...[0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1],
]);
/** ext2 to ext4: only `mountinfo` tells them apart. */
const EXT = 0xef53;
/** The layers of containers, on any of them. */
const OVERLAY = 0x794c7630;
const KNOWN_KINDS: ReadonlySet<number> = new Set([...NAME_SYNCING_KINDS, OVERLAY]);
const CHUNK = Buffer.alloc(1024 * 1024);

export function nodeJournaling(directory: string): Journaling {
  return {
    fileSystem() {
      const { bavail, bsize, type } = statfsSync(directory);
      const freeBytes = bavail * bsize;
      if (type === EXT) return { freeBytes, ...extOf(directory) };
      return { freeBytes, known: KNOWN_KINDS.has(type), syncsNames: NAME_SYNCING_KINDS.has(type) };
    },
    openToAppend: (name) => openToAppend(join(directory, name)),
    preallocate: async (name, bytes) => await preallocate(join(directory, name), bytes),
    syncAll: async () => await syncFileSystem(directory),
  };
}

type Promised = Pick<FileSystemFacts, "known" | "syncsNames">;

const NOTHING_KNOWN: Promised = { known: false, syncsNames: false };

/** Nothing is known where the system does not tell which of them it is. */
function extOf(directory: string): Promised {
  try {
    const { dev } = statSync(directory, { bigint: true });
    const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
    const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
    return extIn(readFileSync("/proc/self/mountinfo", "latin1"), `${major}:${minor}`);
  } catch {
    return NOTHING_KNOWN;
  }
}

/**
 * On ext2, and with data=writeback, a power cut may leave in a file that was not synced what its blocks held before it:
 * nobody can tell it from bytes that somebody has written since. `mounts`: as /proc/self/mountinfo has them; `device`: "8:1".
 */
export function extIn(mounts: string, device: string): Promised {
  for (const line of mounts.split("\n")) {
    // "36 35 98:0 / /spool rw,noatime shared:1 - ext4 /dev/root rw,errors=continue", proc(5).
    const [mount = "", source = ""] = line.split(" - ");
    if (mount.split(" ")[2] !== device) continue;
    const [kind, , options = ""] = source.split(" ");
    const keepsOrder = !options.split(",").includes("data=writeback");
    return { known: isJournaled(kind) && keepsOrder, syncsNames: kind === "ext4" };
  }
  return NOTHING_KNOWN;
}

function isJournaled(kind: string | undefined): boolean {
  return kind === "ext3" || kind === "ext4";
}

async function preallocate(path: string, bytes: number): Promise<BlockFile> {
  const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE);
  try {
    fchmodSync(fd, FILE_MODE);
    // Written, not reserved: the first write to a reserved block changes what the file system keeps about it.
    for (let at = 0; at < bytes; at += CHUNK.length) {
      await writeLater(fd, CHUNK.subarray(0, Math.min(CHUNK.length, bytes - at)), at);
    }
    await later((done) => fsync(fd, done));
  } catch (error) {
    closeSync(fd);
    unlinkSync(path);
    throw error;
  }
  return {
    write(data, position) {
      for (let done = 0; done < data.length; ) {
        done += writeSync(fd, data, done, data.length - done, position + done);
      }
    },
    sync: async () => await later((done) => fdatasync(fd, done)),
    facts() {
      const { dev, ino } = fstatSync(fd);
      return { device: dev, inode: ino };
    },
    close: () => closeSync(fd),
  };
}

function openToAppend(path: string): AppendFile {
  const fd = openSync(path, APPEND, FILE_MODE);
  return {
    append(bytes) {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    },
    close: () => closeSync(fd),
  };
}

async function writeLater(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, done, bytes.length - done, position + done, (error, count) =>
        error === null ? resolve(count) : reject(error),
      );
    });
  }
}

/** syncfs(2), which node has no call for: one for thousands of files, instead of one sync for each. */
function syncFileSystem(directory: string): Promise<void> {
  const env = { PATH: "/usr/bin:/bin:/usr/sbin:/sbin" };
  return later((done) => void execFile("sync", ["-f", directory], { env }, (error) => done(error)));
}

function later(start: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error === null ? resolve() : reject(error)));
  });
}
