/** Reading ahead, from a real disk. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { nodeReading } from "../../src/io/reading.ts";
import { present } from "../support/peer.ts";
import { temporary, until } from "../support/relayd.ts";

const TMPFS = 0x01021994;
const FILES = 100;

/** Written out, and gone from memory. */
function filesOnDisk(): { directory: string; names: string[] } {
  const directory = temporary();
  const names = Array.from({ length: FILES }, (_, n) => `file${n}`);
  for (const name of names) writeFileSync(join(directory, name), Buffer.alloc(4096, name));
  const forget = [
    "import os, sys",
    "for path in sys.argv[1:]:",
    "  fd = os.open(path, os.O_RDWR)",
    "  os.fsync(fd)",
    "  os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)",
  ].join("\n");
  execFileSync("python3", ["-c", forget, ...names.map((name) => join(directory, name))]);
  return { directory, names };
}

const openFiles = (): number => readdirSync("/proc/self/fd").length;

test("what is brought in comes from the disk, in the background, and nothing stays open", {
  skip: present("python3"),
}, async (t) => {
  const { directory, names } = filesOnDisk();
  if (statfsSync(directory).type === TMPFS) return t.skip("a file system in memory");
  const reading = nodeReading(directory);
  const [before, open] = [reading.blocksRead(), openFiles()];
  reading.bring(["missing", ...names, "."]);
  assert.equal(reading.blocksRead(), before, "not at once");
  // A page is eight blocks.
  await until(() => reading.blocksRead() - before >= FILES * 8);
  await until(() => openFiles() === open);
});
