/** Small file systems for tests, as root; unmounted and removed when disposed, or when the program ends before. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DiskImage, type ImageKind, type ImageTerms } from "./disk-image.ts";
import { whateverHappens } from "./whatever-happens.ts";

export interface Mounted extends Disposable {
  readonly spool: string;
  remount(options: string): void;
}

/** For a test's `skip`. */
export function cannotMount(): string | false {
  if (process.getuid?.() !== 0) return "only root can mount";
  try {
    mounted("size=64k")[Symbol.dispose]();
    return false;
  } catch {
    return "may not mount here";
  }
}

/** For tests that need a file system on a device. */
export function cannotMountImage(kind: ImageKind = "ext4"): string | false {
  if (process.getuid?.() !== 0) return "only root can mount";
  try {
    mountedImage({ megabytes: kind === "xfs" ? 320 : 8, kind })[Symbol.dispose]();
    return false;
  } catch (error) {
    return `may not mount images here: ${String(error)}`;
  }
}

/** A tmpfs ("size=1m", "nr_inodes=20") with a spool directory in it. */
export function mounted(options: string): Mounted {
  const place = mkdtempSync(join(tmpdir(), "relayd-mount-"));
  const undo = () => {
    unmount(place);
    rmSync(place, { recursive: true, force: true });
  };
  const undone = whateverHappens(undo);
  const dispose = () => {
    undone();
    undo();
  };
  try {
    mount("-t", "tmpfs", "-o", options, "none", place);
  } catch (error) {
    dispose();
    throw error;
  }
  const spool = join(place, "spool");
  mkdirSync(spool);
  return {
    spool,
    remount: (changed) => mount("-o", `remount,${changed}`, place),
    [Symbol.dispose]: dispose,
  };
}

/** A file system in a file, with a spool directory in it. */
export function mountedImage(terms: ImageTerms): Mounted {
  const image = DiskImage.make(terms);
  return {
    spool: image.spool,
    remount: (changed) => mount("-o", `remount,${changed}`, image.place),
    [Symbol.dispose]: () => image[Symbol.dispose](),
  };
}

function mount(...args: readonly string[]): void {
  const { status, stderr } = spawnSync("mount", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`mount ${args.join(" ")}: ${stderr}`);
}

/** Lazily, so that a program that still has it open is no obstacle. */
function unmount(place: string): void {
  spawnSync("umount", ["--lazy", place]);
}
