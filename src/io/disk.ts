/**
 * The file operations that durability depends on, as a port: the power-cut test cuts before every
 * one of them. Names are relative to one directory; nothing here follows a symbolic link.
 */
import type { Journaling } from "./journaling.ts";
import type { Reading } from "./reading.ts";

export interface Disk {
  /** What a commit journal needs; absent where there can be none. */
  readonly journaling?: Journaling;
  /** For what is read soon; absent where nothing has to come from far. */
  readonly reading?: Reading;
  /** Absolute path; for programs that are told where a file is, and for messages. */
  readonly directory: string;
  /** Makes a new file, mode 0660 whatever the umask. Throws EEXIST, ENOSPC, EACCES ... */
  create(name: string): DiskFile;
  /** Opens for reading, without waiting for a fifo's other end. Throws ENOENT; ELOOP for a symbolic link. */
  open(name: string): DiskFile;
  /** Facts about the name itself; null when there is none. "." is the directory. */
  stat(name: string): FileFacts | null;
  /**
   * A hard link to a file, given by its absolute path, under a new name. Throws EEXIST; EXDEV, EPERM,
   * EMLINK and the like where there can be no link.
   */
  link(path: string, name: string): void;
  /** Makes a directory, mode 0770 whatever the umask, with the set-group-id bit it inherits. Throws EEXIST. */
  makeDirectory(name: string): void;
  /** Replaces `to`. */
  rename(from: string, to: string): void;
  /** Throws ENOENT. */
  remove(name: string): void;
  /** Names in the directory, or in one folder of it, in no order. */
  list(folder?: string): readonly string[];
  /** The same of the directory itself, and which of them are no plain files at this moment. */
  listKinds(): { readonly names: readonly string[]; readonly others: ReadonlySet<string> };
  /** Makes creations, renames and removals in the directory, or in one folder of it, survive a power cut. */
  syncDirectory(folder?: string): Promise<void>;
}

export interface DiskFile {
  facts(): FileFacts;
  /** Appends everything at once; for what is small. */
  append(bytes: Uint8Array): void;
  /** Appends through the thread pool; for what is large. Await it before the next one. */
  appendLater(bytes: Uint8Array): Promise<void>;
  /** Everything in the file, at once; for what is small. `size`: as `facts()` have it, where they were asked. */
  readAll(size?: number): Buffer;
  /** Fills `buffer` from a position through the thread pool; bytes read, 0 at the end. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Makes the file's bytes survive a power cut. After it failed once, never believe a second call. */
  sync(): Promise<void>;
  /** Allowed twice. */
  close(): void;
}

export interface FileFacts {
  readonly kind: "file" | "directory" | "other";
  /** Bytes. */
  readonly size: number;
  readonly inode: number;
  /** Of the file system: a copy on another one has another. */
  readonly device: number;
  /** Milliseconds since 1970: last write. */
  readonly modifiedMs: number;
  /** Milliseconds since 1970: last write, rename or change of rights (ctime). */
  readonly changedMs: number;
}
