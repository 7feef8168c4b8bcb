/** Whether reading has to wait for the disk, and reading ahead for which nobody waits. */
import { closeSync, constants, open, read } from "node:fs";

export interface Reading {
  /** 512-byte blocks that the system has read from a disk for this process, since its start; 0 where it does not count. */
  blocksRead(): number;
  /** Has the beginnings of files brought into the system's memory, in the background. Tells nothing, whatever happens. */
  prefetch(names: readonly string[]): void;
}

/** Of each file; what is larger is read in the background anyway. */
const BEGINNING_BYTES = 64 * 1024;
/** Files under way at a time: a sync waits behind them for a thread, and fewer are not read soon enough. */
const AT_A_TIME = 24;
const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
/** Without O_NONBLOCK, opening a fifo would wait for a writer for ever. */
export const READ = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

/** Names are relative to a directory. */
export function nodeReading(directory: string): Reading {
  const waiting: string[] = [];
  let underWay = 0;
  const next = () => {
    while (underWay < AT_A_TIME) {
      const name = waiting.shift();
      if (name === undefined) return;
      underWay += 1;
      readBeginning(`${directory}/${name}`, () => {
        underWay -= 1;
        next();
      });
    }
  };
  return {
    blocksRead: () => process.resourceUsage().fsRead,
    prefetch(names) {
      waiting.push(...names);
      next();
    },
  };
}

/** Nobody looks at what is in it. */
let thrownAway: Buffer | null = null;

function readBeginning(path: string, then: () => void): void {
  open(path, READ, (unopened, fd) => {
    if (unopened !== null) return then();
    thrownAway ??= Buffer.allocUnsafeSlow(BEGINNING_BYTES);
    read(fd, thrownAway, 0, BEGINNING_BYTES, 0, () => {
      closeQuietly(fd);
      then();
    });
  });
}

/** A file system that has gone away says so here too. */
function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // It is closed all the same.
  }
}
