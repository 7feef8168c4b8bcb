/** A file system in a file, whose power can be cut: everything that was not synced is gone then. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { whateverHappens } from "./whatever-happens.ts";

/** EXT4_IOC_SHUTDOWN, which is XFS_IOC_GOINGDOWN too, without a flush of the log: no write reaches the device any more, not even the journal's. */
const CUT = `import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))`;

export type ImageKind = "ext2" | "ext4" | "xfs";

export interface ImageTerms {
  /** XFS needs 320 at least. */
  readonly megabytes: number;
  /** ext4 only. */
  readonly inodes?: number;
  /** ext4 if not given. */
  readonly kind?: ImageKind;
}

/** XFS will not have two file systems with the same name at a time, as copies have. */
const MOUNT_OPTIONS = { ext2: "loop", ext4: "loop", xfs: "loop,nouuid" };

export class DiskImage implements Disposable {
  /** Where it is mounted. */
  readonly place: string;
  /** A directory in it. */
  readonly spool: string;
  readonly #folder: string;
  readonly #file: string;
  readonly #kind: ImageKind;
  readonly #forget: () => void;

  private constructor(folder: string, kind: ImageKind) {
    this.#folder = folder;
    this.#kind = kind;
    this.#file = join(folder, "image");
    this.place = join(folder, "mounted");
    this.spool = join(this.place, "spool");
    this.#forget = whateverHappens(() => this.#remove());
    mkdirSync(this.place);
  }

  /** Mounted, and everything in it on the device. */
  static make({ megabytes, inodes, kind = "ext4" }: ImageTerms): DiskImage {
    const image = new DiskImage(mkdtempSync(join(tmpdir(), "relayd-image-")), kind);
    try {
      run("truncate", "--size", `${megabytes}M`, image.#file);
      const some = inodes === undefined ? [] : ["-N", String(inodes)];
      if (kind === "xfs") run("mkfs.xfs", "-q", "-f", image.#file);
      else run(`mkfs.${kind}`, "-q", "-F", "-m", "0", ...some, image.#file);
      image.mount();
      mkdirSync(image.spool);
      run("sync", "--file-system", image.place);
    } catch (error) {
      image[Symbol.dispose]();
      throw error;
    }
    return image;
  }

  /** The same bytes on another device, as a snapshot would have them. Not mounted. */
  copy(): DiskImage {
    const image = new DiskImage(mkdtempSync(join(tmpdir(), "relayd-image-")), this.#kind);
    run("cp", "--sparse=always", this.#file, image.#file);
    return image;
  }

  mount(): void {
    run("mount", "-o", MOUNT_OPTIONS[this.#kind], this.#file, this.place);
  }

  /** When nobody uses it any more. */
  unmount(): void {
    for (let tries = 0; tries < 50; tries++) {
      const { status, stderr } = spawnSync("umount", [this.place], { encoding: "utf8" });
      if (status === 0) return;
      if (!stderr.includes("busy")) throw new Error(`umount: ${stderr}`);
      spawnSync("sleep", ["0.05"]);
    }
    throw new Error(`${this.place} stays in use`);
  }

  async cutPower(): Promise<void> {
    const python = spawn("python3", ["-c", CUT, this.place], { stdio: "ignore" });
    const [code] = (await once(python, "exit")) as [number | null];
    if (code !== 0) throw new Error("the power cannot be cut");
  }

  /** Throws unless the file system is in order. Not while mounted. */
  check(): void {
    if (this.#kind === "xfs") run("xfs_repair", "-n", this.#file);
    else run("fsck.ext4", "-f", "-n", this.#file);
  }

  [Symbol.dispose](): void {
    this.#forget();
    this.#remove();
  }

  #remove(): void {
    spawnSync("umount", ["--lazy", this.place]);
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function run(program: string, ...args: readonly string[]): void {
  const env = { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` };
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8", env });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr} ${error?.message}`);
}
