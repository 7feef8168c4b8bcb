import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LineWriter } from "../../src/observe/line-writer.ts";

test("LineWriter ends a half-written line before it writes the next one", () => {
  const directory = mkdtempSync(join(tmpdir(), "relayd-lines-"));
  const fifo = join(directory, "fifo");
  assert.equal(spawnSync("mkfifo", [fifo]).status, 0);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  const writer = new LineWriter((lost) => `lost ${lost}`);

  // Longer than a pipe takes at once: the line that meets the full pipe is written in part.
  for (let i = 0; i < 30; i += 1) writer.write(fd, "x".repeat(5000));
  const before = drain(reader);
  writer.write(fd, "after");
  const after = drain(reader);

  const lines = (before + after).split("\n");
  const half = lines.findIndex((line) => /^x{1,4999}$/.test(line));
  assert.ok(half > 0, "no line was written in part");
  assert.deepEqual(lines.slice(half + 1), [`lost ${30 - half}`, "after", ""]);
  for (const one of [reader, fd]) closeSync(one);
  rmSync(directory, { recursive: true });
});

test("LineWriter counts the lines of one call that were not written whole", () => {
  const directory = mkdtempSync(join(tmpdir(), "relayd-lines-"));
  const fifo = join(directory, "fifo");
  assert.equal(spawnSync("mkfifo", [fifo]).status, 0);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  const writer = new LineWriter((lost) => `lost ${lost}`);

  writer.write(fd, ...Array.from({ length: 30 }, () => "x".repeat(5000)));
  const before = drain(reader);
  writer.write(fd, "after", "all");
  const after = drain(reader);

  const lines = (before + after).split("\n");
  const whole = lines.filter((line) => line.length === 5000).length;
  assert.match(lines[whole] ?? "", /^x{1,4999}$/);
  assert.deepEqual(lines.slice(whole + 1), [`lost ${30 - whole}`, "after", "all", ""]);
  for (const one of [reader, fd]) closeSync(one);
  rmSync(directory, { recursive: true });
});

function drain(fd: number): string {
  const chunk = Buffer.alloc(1 << 20);
  return chunk.toString("latin1", 0, readSync(fd, chunk));
}
