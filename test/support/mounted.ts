/** Small file systems for tests, as root; unmounted and removed when disposed. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Mounted extends Disposable {
  readonly spool: string;
  remount(options: string): void;
}

/** For a test's `skip`. */
export function cannotMount(): string | false {
  if (process.getuid?.() !== 0) return "only root can mount";
  const probe = mkdtempSync(join(tmpdir(), "relayd-mount-"));
  try {
    mount("-t", "tmpfs", "-o", "size=64k", "none", probe);
    unmount(probe);
    return false;
  } catch {
    return "may not mount here";
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}

/** A tmpfs ("size=1m", "nr_inodes=20") with a spool directory in it. */
export function mounted(options: string): Mounted {
  const place = mkdtempSync(join(tmpdir(), "relayd-mount-"));
  mount("-t", "tmpfs", "-o", options, "none", place);
  const spool = join(place, "spool");
  mkdirSync(spool);
  return {
    spool,
    remount: (changed) => mount("-o", `remount,${changed}`, place),
    [Symbol.dispose]: () => {
      unmount(place);
      rmSync(place, { recursive: true, force: true });
    },
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
