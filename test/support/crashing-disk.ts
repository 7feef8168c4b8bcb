/**
 * A Disk in memory that loses power before its n-th operation. What survives is every state that the
 * page cache allows: unsynced bytes gone, torn or kept, and any first part of the unsynced changes of
 * each directory. One sync can be ignored, to see whether anybody would notice.
 */
import type { Disk, DiskFile, FileFacts } from "../../src/io/disk.ts";
import type { AppendFile, BlockFile, Journaling } from "../../src/io/journaling.ts";

export class PowerCut extends Error {
  override name = "PowerCut";
}

interface Inode {
  readonly number: number;
  readonly kind: "file" | "directory";
  data: Buffer;
  /** What a power cut leaves for sure. */
  durable: Buffer;
  changed: number;
}

type Names = ReadonlyMap<string, Inode>;

/** One change of one directory. */
interface Change {
  readonly folder: string;
  readonly apply: (names: Map<string, Inode>) => void;
  /** What it makes. */
  readonly created: Inode | null;
}

export interface CrashingDiskOptions {
  /** Operations before the power is cut; default: never. */
  readonly steps?: number;
  /** The number, from 0, of the sync that does nothing; default: none. */
  readonly ignoreSync?: number;
  /** Its number; 1 if not given. */
  readonly device?: number;
  /** With a file that is new its name is synced too, as on ext4, XFS, Btrfs, F2FS and ZFS; POSIX does not say so. */
  readonly syncsNames?: boolean;
}

export class CrashingDisk implements Disk {
  readonly directory = "/memory/spool";
  readonly journaling: Journaling = {
    fileSystem: () => ({
      ...{ freeBytes: Number.POSITIVE_INFINITY, known: true, syncsNames: this.#syncsNames },
    }),
    openToAppend: (name) => this.#openToAppend(name),
    preallocate: async (name, bytes) => this.#preallocate(name, bytes),
    syncAll: async () => this.#syncAll(),
  };
  /** What each sync so far was for: "file emailrelay.7.1.1.content", "directory". */
  readonly syncs: string[] = [];
  operations = 0;
  #steps: number;
  readonly #ignoreSync: number;
  readonly #device: number;
  readonly #syncsNames: boolean;
  #names = new Map<string, Inode>();
  /** The names as they are on disk, and what was changed since, in its order. */
  #durable: Names = new Map();
  #changes: readonly Change[] = [];
  #time = 0;

  constructor(options: CrashingDiskOptions = {}) {
    this.#steps = options.steps ?? Number.POSITIVE_INFINITY;
    this.#ignoreSync = options.ignoreSync ?? -1;
    this.#device = options.device ?? 1;
    this.#syncsNames = options.syncsNames ?? false;
  }

  create(name: string): DiskFile {
    this.#tick();
    const inode = this.#add(name, "file", "open");
    return this.#file(name, inode);
  }

  makeDirectory(name: string): void {
    this.#tick();
    this.#add(name, "directory", "mkdir");
  }

  link(path: string, name: string): void {
    this.#tick();
    if (!path.startsWith(`${this.directory}/`)) throw errno("EXDEV", "link");
    const inode = this.#inode(path.slice(this.directory.length + 1), "link");
    if (this.#names.has(name)) throw errno("EEXIST", "link");
    this.#change(name, (names) => names.set(name, inode));
  }

  open(name: string): DiskFile {
    this.#tick();
    return this.#file(name, this.#inode(name, "open"));
  }

  stat(name: string): FileFacts | null {
    this.#tick();
    if (name === ".") return this.#facts("directory", 0, -1, this.#time);
    const inode = this.#names.get(name);
    return inode === undefined ? null : this.#factsOf(inode);
  }

  rename(from: string, to: string): void {
    this.#tick();
    const inode = this.#inode(from, "rename");
    if (this.#names.get(to) === inode) return; // POSIX: links to the same file both stay.
    this.#change(to, (names) => {
      names.delete(from);
      names.set(to, inode);
    });
    inode.changed = this.#time;
  }

  remove(name: string): void {
    this.#tick();
    this.#inode(name, "unlink");
    this.#change(name, (names) => names.delete(name));
  }

  list(folder = "."): readonly string[] {
    this.#tick();
    const names = [...this.#names.keys()].filter((name) => folderOf(name) === folder);
    return names.map((name) => name.slice(name.lastIndexOf("/") + 1));
  }

  /** There are only files here. */
  listKinds(): ReturnType<Disk["listKinds"]> {
    return { names: this.list(), others: new Set() };
  }

  async syncDirectory(folder = "."): Promise<void> {
    this.#tick();
    if (!this.#counts(folder === "." ? "directory" : `directory ${folder}`)) return;
    this.#durable = this.#with(new Map([[folder, Number.POSITIVE_INFINITY]]));
    this.#changes = this.#changes.filter((change) => change.folder !== folder);
  }

  get isDead(): boolean {
    return this.#steps < 0;
  }

  /** Every name, with those in folders. */
  names(): readonly string[] {
    return [...this.#names.keys()];
  }

  /** The file's bytes now. */
  peek(name: string): Buffer | null {
    return this.#names.get(name)?.data ?? null;
  }

  /** What a filter does: another file under the same name, or other bytes in the same file; not synced. */
  edit(name: string, how: "replace" | "in place", data: Buffer): void {
    const inode = this.#inode(name, "open");
    if (how === "in place") {
      inode.data = data;
      return;
    }
    const other = { ...this.#newInode("file"), data };
    this.#change(name, (names) => names.set(name, other));
  }

  /** Every disk that one may find after the power is back. */
  survivors(options: CrashingDiskOptions = {}): readonly CrashingDisk[] {
    return this.#survivingNames().flatMap((names) =>
      LEFTOVERS.map((bytesOf) => this.#after(names, bytesOf, options)),
    );
  }

  /** What a program that is started now finds when the one before it was killed. */
  killed(): CrashingDisk {
    return this.#after(this.#names, (inode) => inode.data);
  }

  /** The same durable files on a disk of its own, with so many operations to go. */
  copy(steps: number): CrashingDisk {
    return this.#after(this.#durable, (inode) => inode.durable, { steps });
  }

  #after(
    names: Names,
    bytesOf: (inode: Inode) => Buffer,
    options: CrashingDiskOptions = {},
  ): CrashingDisk {
    const disk = new CrashingDisk(options);
    const inodes = new Map<Inode, Inode>();
    for (const [name, inode] of names) {
      const folder = folderOf(name);
      if (folder !== "." && !names.has(folder)) continue; // Whatever was in it cannot be found.
      const data = bytesOf(inode);
      const left = inodes.get(inode) ?? { ...inode, data, durable: data };
      inodes.set(inode, left);
      disk.#names.set(name, left);
    }
    disk.#durable = new Map(disk.#names);
    disk.#time = this.#time;
    return disk;
  }

  #preallocate(name: string, bytes: number): BlockFile {
    this.#tick();
    const inode = this.#add(name, "file", "open");
    inode.data = Buffer.alloc(bytes);
    inode.durable = inode.data;
    return {
      write: (data, position) => {
        this.#tick();
        const written = Buffer.from(inode.data);
        written.set(data, position);
        inode.data = written;
        inode.changed = this.#time;
      },
      sync: async () => {
        this.#tick();
        if (this.#counts(`file ${name}`)) inode.durable = inode.data;
      },
      facts: () => ({
        device: this.#device,
        inode: inode.number,
      }),
      close: () => undefined,
    };
  }

  #syncAll(): void {
    this.#tick();
    if (!this.#counts("everything")) return;
    for (const inode of this.#names.values()) inode.durable = inode.data;
    this.#durable = new Map(this.#names);
    this.#changes = [];
  }

  #file(name: string, inode: Inode): DiskFile {
    const append = (bytes: Uint8Array) => {
      this.#tick();
      inode.data = Buffer.concat([inode.data, bytes]);
      inode.changed = this.#time;
    };
    return {
      facts: () => {
        this.#tick();
        return this.#factsOf(inode);
      },
      append,
      appendLater: async (bytes) => append(bytes),
      readAll: () => {
        this.#tick();
        return Buffer.from(inode.data);
      },
      read: async (buffer, position) => {
        this.#tick();
        return inode.data.copy(buffer, 0, position);
      },
      sync: async () => {
        this.#tick();
        if (!this.#counts(`file ${name}`)) return;
        inode.durable = inode.data;
        if (this.#syncsNames) this.#syncNameOf(inode);
      },
      close: () => undefined,
    };
  }

  /** And whatever was done in its folder before it was made. */
  #syncNameOf(inode: Inode): void {
    const made = this.#changes.findIndex((change) => change.created === inode);
    if (made < 0) return;
    const folder = this.#changes[made]?.folder ?? "";
    const first = this.#changes.slice(0, made + 1).filter((change) => change.folder === folder);
    this.#durable = this.#with(new Map([[folder, first.length]]));
    this.#changes = this.#changes.filter((change) => !first.includes(change));
  }

  #openToAppend(name: string): AppendFile {
    this.#tick();
    const inode = this.#names.get(name) ?? this.#add(name, "file", "open");
    return {
      append: (bytes) => {
        this.#tick();
        inode.data = Buffer.concat([inode.data, bytes]);
        inode.changed = this.#time;
      },
      close: () => undefined,
    };
  }

  #factsOf(inode: Inode): FileFacts {
    return this.#facts(inode.kind, inode.data.length, inode.number, inode.changed);
  }

  #facts(kind: FileFacts["kind"], size: number, inode: number, time: number): FileFacts {
    return { kind, size, inode, device: this.#device, modifiedMs: time, changedMs: time };
  }

  #inode(name: string, syscall: string): Inode {
    const inode = this.#names.get(name);
    if (inode === undefined) throw errno("ENOENT", syscall);
    return inode;
  }

  #add(name: string, kind: Inode["kind"], syscall: string): Inode {
    const folder = folderOf(name);
    if (folder !== "." && !this.#names.has(folder)) throw errno("ENOENT", syscall);
    if (this.#names.has(name)) throw errno("EEXIST", syscall);
    const inode = this.#newInode(kind);
    this.#change(name, (names) => names.set(name, inode), inode);
    return inode;
  }

  #newInode(kind: Inode["kind"]): Inode {
    return { number: this.#time, kind, data: EMPTY, durable: EMPTY, changed: this.#time };
  }

  #change(name: string, apply: Change["apply"], created: Inode | null = null): void {
    apply(this.#names);
    this.#time += 1;
    this.#changes = [...this.#changes, { folder: folderOf(name), apply, created }];
  }

  /** The names on disk after the first so many changes of each folder. */
  #with(counts: ReadonlyMap<string, number>): Names {
    const left = new Map(counts);
    const names = new Map(this.#durable);
    for (const { folder, apply } of this.#changes) {
      const count = left.get(folder) ?? 0;
      left.set(folder, count - 1);
      if (count > 0) apply(names);
    }
    return names;
  }

  /** Every combination of first parts of the changes of each folder. */
  #survivingNames(): readonly Names[] {
    let combinations: readonly ReadonlyMap<string, number>[] = [new Map()];
    for (const folder of new Set(this.#changes.map((change) => change.folder))) {
      const most = this.#changes.filter((change) => change.folder === folder).length;
      combinations = combinations.flatMap((counts) =>
        Array.from({ length: most + 1 }, (_, count) => new Map([...counts, [folder, count]])),
      );
    }
    return combinations.map((counts) => this.#with(counts));
  }

  /** False for the one sync that is ignored. */
  #counts(what: string): boolean {
    this.syncs.push(what);
    return this.syncs.length - 1 !== this.#ignoreSync;
  }

  #tick(): void {
    if (this.#steps-- <= 0) throw new PowerCut("the power is cut");
    this.operations += 1;
  }
}

const EMPTY = Buffer.alloc(0);

/** What may be left of a file's bytes. */
const LEFTOVERS: readonly ((inode: Inode) => Buffer)[] = [
  (inode) => inode.durable,
  (inode) => torn(inode),
  (inode) => inode.data,
];

/** The new length is on disk, half of the new bytes are; the rest reads as zeros, or as what was there before. */
function torn({ data, durable }: Inode): Buffer {
  if (data.equals(durable)) return data;
  if (data.length === durable.length) {
    const changed = [...data.keys()].filter((at) => data[at] !== durable[at]);
    const half = changed[Math.floor(changed.length / 2)] ?? 0;
    return Buffer.concat([data.subarray(0, half), durable.subarray(half)]);
  }
  const left = Buffer.alloc(data.length);
  data.copy(left, 0, 0, Math.floor((durable.length + data.length) / 2));
  return left;
}

function folderOf(name: string): string {
  const at = name.lastIndexOf("/");
  return at === -1 ? "." : name.slice(0, at);
}

function errno(code: string, syscall: string): Error {
  return Object.assign(new Error(`${code}: no luck, ${syscall}`), { code, syscall });
}
