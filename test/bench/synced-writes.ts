/** What the disk can do: appends of 2 kB, each synced, so many at a time, each to a file of its own. */
import { execFile } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { argv, stdout } from "node:process";
import { promisify } from "node:util";

const BYTES = 2048;
const DURATION_MS = 300;

/** Synced writes a second. In a process of its own, which has a thread for each writer. */
export async function syncedWrites(directory: string, writers: number): Promise<number> {
  const folder = join(directory, "synced-writes");
  mkdirSync(folder);
  const { stdout: printed } = await promisify(execFile)(
    process.execPath,
    [import.meta.filename, folder, String(writers)],
    { env: { ...process.env, UV_THREADPOOL_SIZE: String(writers) } },
  );
  rmSync(folder, { recursive: true });
  return Number(printed);
}

async function write(file: FileHandle, until: number): Promise<number> {
  const block = Buffer.alloc(BYTES);
  let count = 0;
  for (; performance.now() < until; count++) {
    await file.write(block);
    await file.datasync();
  }
  await file.close();
  return count;
}

if (argv[1] === import.meta.filename) {
  const [, , folder = ".", writers = "1"] = argv;
  const names = Array.from({ length: Number(writers) }, (_, index) => join(folder, `${index}`));
  const files = await Promise.all(names.map(async (name) => await open(name, "a")));
  const started = performance.now();
  const counts = await Promise.all(
    files.map(async (file) => await write(file, started + DURATION_MS)),
  );
  const total = counts.reduce((sum, one) => sum + one, 0);
  stdout.write(`${(total / (performance.now() - started)) * 1000}`);
}
