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
  statfsSync,
  write,
  writeSync,
} from "node:fs";
import { join } from "node:path";

export interface Journaling {
  /** Bytes that may still be used. */
  freeBytes(): number;
  /** Makes a file whose blocks are all written, so that syncing bytes put over them changes nothing but them. Throws EEXIST, ENOSPC ... */
  preallocate(name: string, bytes: number): Promise<BlockFile>;
  /** Makes everything that was written to the file system before survive a power cut. */
  syncAll(): Promise<void>;
}

/** A file of fixed size. */
export interface BlockFile {
  /** At once; within the size. */
  write(bytes: Uint8Array, position: number): void;
  /** Makes what was written survive a power cut. After it failed once, never believe a second call. */
  sync(): Promise<void>;
  /** False when somebody has removed it: it is there only for those who have it open. */
  hasName(): boolean;
  close(): void;
}

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } = constants;
const CHUNK = Buffer.alloc(1024 * 1024);

export function nodeJournaling(directory: string): Journaling {
  return {
    freeBytes() {
      const { bavail, bsize } = statfsSync(directory);
      return bavail * bsize;
    },
    preallocate: async (name, bytes) => await preallocate(join(directory, name), bytes),
    syncAll: async () => await syncFileSystem(directory),
  };
}

async function preallocate(path: string, bytes: number): Promise<BlockFile> {
  const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o660);
  try {
    fchmodSync(fd, 0o660);
    // Written, not reserved: the first write to a reserved block changes what the file system keeps about it.
    for (let at = 0; at < bytes; at += CHUNK.length) {
      await writeLater(fd, CHUNK.subarray(0, Math.min(CHUNK.length, bytes - at)), at);
    }
    await later((done) => fsync(fd, done));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return {
    write(data, position) {
      for (let done = 0; done < data.length; ) {
        done += writeSync(fd, data, done, data.length - done, position + done);
      }
    },
    sync: async () => await later((done) => fdatasync(fd, done)),
    hasName: () => fstatSync(fd).nlink > 0,
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
