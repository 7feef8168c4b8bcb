/**
 * Memory that nobody has used for a while, a virtual machine's host takes back, and gives again page by page when it is
 * next used: ten times the work of what is then copied there. Whose turn it is should not decide who pays.
 */
import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Load } from "./load.ts";

const PAGE_BYTES = 4096;
const BLOCK_BYTES = 1024 ** 2;
const MOST_BYTES = 512 * BLOCK_BYTES;

/** Of both files of so many messages, and half as much again. */
export function memoryNeeded({ messages, bytes }: Pick<Load, "messages" | "bytes">): number {
  const content = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
  return Math.min(MOST_BYTES, 1.5 * messages * (content + 2 * PAGE_BYTES));
}

/** Takes so many bytes for a file in the directory, and gives them back before any of it is written to the disk. */
export function warmMemory(directory: string, bytes: number): void {
  const path = join(directory, "warm");
  const fd = openSync(path, "wx");
  try {
    const block = Buffer.alloc(BLOCK_BYTES, "x");
    for (let done = 0; done < bytes; done += block.length) writeSync(fd, block);
  } finally {
    unlinkSync(path);
    closeSync(fd);
  }
}
