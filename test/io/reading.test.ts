/** Reading ahead, from a real disk. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { nodeReading, type Reading } from "../../src/io/reading.ts";
import { present } from "../support/peer.ts";
import { temporary, until } from "../support/relayd.ts";

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

/** Some file systems have no disk behind them, or do not tell. */
function isCounted(reading: Reading, path: string): boolean {
  const before = reading.blocksRead();
  readFileSync(path);
  return reading.blocksRead() > before;
}

test("what is brought in comes from the disk, some files at a time, and nothing stays open", {
  skip: present("python3"),
}, async (t) => {
  const { directory, names } = filesOnDisk();
  const reading = nodeReading(directory);
  const [first = "", ...others] = names;
  if (!isCounted(reading, join(directory, first))) return t.skip("what is read is not counted");
  const [before, open] = [reading.blocksRead(), openFiles()];
  let most = 0;
  reading.prefetch(["missing", ...others, "."]);
  // A page is eight blocks.
  await until(() => {
    most = Math.max(most, openFiles() - open);
    return reading.blocksRead() - before >= others.length * 8;
  });
  await until(() => openFiles() === open);
  assert.ok(most <= 24, `${most} files open`);
});

test("a file that cannot even be closed is nobody's trouble", {
  skip: present("strace"),
}, () => {
  const directory = temporary();
  writeFileSync(join(directory, "file"), "content");
  const program = `
    import { nodeReading } from "${import.meta.resolve("../../src/io/reading.js")}";
    nodeReading("${directory}").prefetch(["file", "file"]);`;
  const faults = ["-P", join(directory, "file"), "-e", "inject=close:error=ENOTCONN"];
  const { status, stderr } = spawnSync(
    "strace",
    [
      ...["-f", "-o", "/dev/null", "-e", "trace=close", ...faults],
      ...[process.execPath, "--input-type=module", "-e", program],
    ],
    { encoding: "utf8" },
  );
  assert.equal(status, 0, stderr);
});
