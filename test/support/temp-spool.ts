/** A spool directory of a test's own; removed when it is disposed. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../src/core/clock.ts";
import type { Journal, RelayEvent } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";
import {
  type FileStore,
  type FileStoreOptions,
  openFileStore,
} from "../../src/spool/file-store.ts";

export interface TempSpool extends AsyncDisposable {
  readonly directory: string;
  /** Everything told so far. */
  readonly events: readonly RelayEvent[];
  /** Opens a store; closed with the spool. */
  open(options?: Partial<FileStoreOptions>): Promise<FileStore>;
  /** Spool files, sorted. */
  names(): string[];
  read(name: string): Buffer;
  put(name: string, data: string | Buffer): void;
  /** Texts of the warnings told so far. */
  warnings(): string[];
}

/**
 * Time passes between turns only: the directory is not listed again at once where that took long, as it seems to where
 * something else ran meanwhile.
 */
function turnByTurn(): Clock {
  let now: number | null = null;
  const monotonic = (): number => {
    if (now !== null) return now;
    queueMicrotask(() => {
      now = null;
    });
    now = systemClock.monotonic();
    return now;
  };
  return { ...systemClock, monotonic };
}

export async function tempSpool(): Promise<TempSpool> {
  const directory = mkdtempSync(join(tmpdir(), "relayd-spool-"));
  const events: RelayEvent[] = [];
  const stores: FileStore[] = [];
  const journal: Journal = { detail: true, tell: (event) => events.push(event) };
  return {
    directory,
    events,
    async open(options = {}) {
      const store = await openFileStore({
        directory,
        sync: true,
        shared: false,
        journal,
        clock: turnByTurn(),
        ...options,
      });
      stores.push(store);
      return store;
    },
    names: () =>
      readdirSync(directory)
        .filter((name) => name !== ".relayd")
        .sort(),
    read: (name) => readFileSync(join(directory, name)),
    put: (name, data) => writeFileSync(join(directory, name), data),
    warnings: () =>
      events.flatMap((event) =>
        event.kind === "note" && event.level === "warning" ? [event.text] : [],
      ),
    async [Symbol.asyncDispose]() {
      for (const store of stores) await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
