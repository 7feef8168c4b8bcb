/**
 * A Disk in memory that loses power before its n-th operation. What survives is every state that the
 * page cache allows: unsynced bytes gone, torn or kept, and any first part of the unsynced directory
 * changes. One sync can be ignored, to see whether anybody would notice.
 */
import type { Disk, DiskFile, FileFacts } from "../../src/io/disk.ts";

export class PowerCut extends Error {
  override name = "PowerCut";
}

interface Inode {
  readonly number: number;
  data: Buffer;
  /** What a power cut leaves for sure. */
  durable: Buffer;
  changed: number;
}

type Names = ReadonlyMap<string, Inode>;

export interface CrashingDiskOptions {
  /** Operations before the power is cut; default: never. */
  readonly steps?: number;
  /** The number, from 0, of the sync that does nothing; default: none. */
  readonly ignoreSync?: number;
}

export class CrashingDisk implements Disk {
  readonly directory = "/memory/spool";
  /** What each sync so far was for: "file emailrelay.7.1.1.content", "directory". */
  readonly syncs: string[] = [];
  operations = 0;
  #steps: number;
  readonly #ignoreSync: number;
  #names = new Map<string, Inode>();
  /** The directory as it is on disk, then after each change since. */
  #versions: Names[] = [new Map()];
  #time = 0;

  constructor(options: CrashingDiskOptions = {}) {
    this.#steps = options.steps ?? Number.POSITIVE_INFINITY;
    this.#ignoreSync = options.ignoreSync ?? -1;
  }

  create(name: string): DiskFile {
    this.#tick();
    if (this.#names.has(name)) throw errno("EEXIST", "open");
    const inode = { number: this.#time, data: EMPTY, durable: EMPTY, changed: this.#time };
    this.#change(() => this.#names.set(name, inode));
    return this.#file(name, inode);
  }

  open(name: string): DiskFile {
    this.#tick();
    return this.#file(name, this.#inode(name, "open"));
  }

  stat(name: string): FileFacts | null {
    this.#tick();
    if (name === ".") return facts("directory", 0, -1, this.#time);
    const inode = this.#names.get(name);
    return inode === undefined ? null : factsOf(inode);
  }

  rename(from: string, to: string): void {
    this.#tick();
    const inode = this.#inode(from, "rename");
    this.#change(() => {
      this.#names.delete(from);
      this.#names.set(to, inode);
    });
    inode.changed = this.#time;
  }

  remove(name: string): void {
    this.#tick();
    this.#inode(name, "unlink");
    this.#change(() => this.#names.delete(name));
  }

  list(folder = "."): readonly string[] {
    this.#tick();
    return folder === "." ? [...this.#names.keys()] : [];
  }

  async syncDirectory(): Promise<void> {
    this.#tick();
    if (this.#counts("directory")) this.#versions = [new Map(this.#names)];
  }

  get isDead(): boolean {
    return this.#steps < 0;
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
    const other = { number: this.#time, data, durable: EMPTY, changed: this.#time };
    this.#change(() => this.#names.set(name, other));
  }

  /** Every disk that one may find after the power is back. */
  survivors(): readonly CrashingDisk[] {
    return this.#versions.flatMap((names) =>
      LEFTOVERS.map((bytesOf) => this.#after(names, bytesOf)),
    );
  }

  /** The same durable files on a disk of its own, with so many operations to go. */
  copy(steps: number): CrashingDisk {
    return this.#after(this.#versions[0] ?? new Map(), (inode) => inode.durable, { steps });
  }

  #after(
    names: Names,
    bytesOf: (inode: Inode) => Buffer,
    options: CrashingDiskOptions = {},
  ): CrashingDisk {
    const disk = new CrashingDisk(options);
    for (const [name, inode] of names) {
      const data = bytesOf(inode);
      disk.#names.set(name, { ...inode, data, durable: data });
    }
    disk.#versions = [new Map(disk.#names)];
    disk.#time = this.#time;
    return disk;
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
        return factsOf(inode);
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
        if (this.#counts(`file ${name}`)) inode.durable = inode.data;
      },
      close: () => undefined,
    };
  }

  #inode(name: string, syscall: string): Inode {
    const inode = this.#names.get(name);
    if (inode === undefined) throw errno("ENOENT", syscall);
    return inode;
  }

  #change(change: () => void): void {
    change();
    this.#time += 1;
    this.#versions.push(new Map(this.#names));
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

/** The new length is on disk, half of the new bytes are; the rest reads as zeros. */
function torn({ data, durable }: Inode): Buffer {
  if (data.equals(durable)) return data;
  const left = Buffer.alloc(data.length);
  data.copy(left, 0, 0, Math.floor((durable.length + data.length) / 2));
  return left;
}

function factsOf(inode: Inode): FileFacts {
  return facts("file", inode.data.length, inode.number, inode.changed);
}

function facts(kind: FileFacts["kind"], size: number, inode: number, time: number): FileFacts {
  return { kind, size, inode, modifiedMs: time, changedMs: time };
}

function errno(code: string, syscall: string): Error {
  return Object.assign(new Error(`${code}: no luck, ${syscall}`), { code, syscall });
}
