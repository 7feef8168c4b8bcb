/**
 * Where the compared programs keep their mail: a fresh ext4 with a journal in a loop image, as the
 * host's own file system may have none, or be worn by the files of earlier runs; a plain folder
 * where mounting is not possible.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface BenchDisk extends Disposable {
  readonly directory: string;
  /** For the report. */
  readonly kind: string;
}

const MOST_TRIES = 100;
const PAUSE_MS = 100;

/** `bytes`: its size. */
export function openBenchDisk(bytes = 3 * 1024 ** 3): BenchDisk {
  // Short: the paths of Postfix's sockets must fit into 107 characters.
  const home = mkdtempSync(join(tmpdir(), "rb-"));
  chmodSync(home, 0o755);
  const directory = join(home, "d");
  mkdirSync(directory);
  const remove = () => rmSync(home, { recursive: true, force: true });
  try {
    const device = mount(join(home, "image"), { directory, bytes });
    return {
      directory,
      kind: "fresh ext4 with a journal in a loop image, direct I/O",
      [Symbol.dispose]() {
        unmount(directory);
        quiet("losetup", ["-d", device]);
        remove();
      },
    };
  } catch (error) {
    const why = error instanceof Error ? (error.message.split("\n")[0] ?? "") : "";
    return {
      directory,
      kind: `plain folder in ${tmpdir()} (no loop image: ${why})`,
      [Symbol.dispose]: remove,
    };
  }
}

/** The loop device. */
function mount(image: string, given: { directory: string; bytes: number }): string {
  if (process.getuid?.() !== 0) throw new Error("not root");
  fill(image, given.bytes);
  // What it discards of an image would be one hole again.
  quiet("mkfs.ext4", ["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", image]);
  const args = ["--direct-io=on", "--find", "--show", image];
  const device = execFileSync("losetup", args, { encoding: "utf8" }).trim();
  try {
    quiet("mount", ["-t", "ext4", device, given.directory]);
  } catch (error) {
    quiet("losetup", ["-d", device]);
    throw error;
  }
  return device;
}

/** Processes of a program that was just ended may still be leaving. */
function unmount(directory: string): void {
  for (let tries = 1; ; tries += 1) {
    try {
      quiet("umount", [directory]);
      return;
    } catch (error) {
      if (tries === MOST_TRIES) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    }
  }
}

/** Written out: a hole would make every first write to a block wait for the host's own bookkeeping. */
function fill(image: string, bytes: number): void {
  const fd = openSync(image, "w");
  const block = Buffer.alloc(8 * 1024 ** 2);
  for (let done = 0; done < bytes; done += block.length) writeSync(fd, block);
  fsyncSync(fd);
  closeSync(fd);
}

function quiet(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: "pipe" });
}
