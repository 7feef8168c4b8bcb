/** Stores that commit through a journal, in whatever process, on a disk that may have faults. */
import type { Clock } from "../../src/core/clock.ts";
import { type Journal, silentJournal } from "../../src/core/events.ts";
import type { Disk } from "../../src/io/disk.ts";
import { type FileStore, openFileStore } from "../../src/spool/file-store.ts";
import type { ProcessTable } from "../../src/spool/process-table.ts";
import type { CrashingDisk } from "./crashing-disk.ts";
import { storeMessage } from "./messages.ts";
import { shortClock } from "./short-clock.ts";

export const TEXT = "Subject: x\r\n\r\nhello\r\n";
export const JOURNAL = ".relayd/journal";

export interface Place {
  readonly boot?: string;
  readonly pid?: number;
  readonly alive?: readonly number[];
  readonly host?: string;
  readonly start?: string;
}

export function processesAt({ boot = "1", pid = 7, alive = [], host = "host", start }: Place) {
  const table: ProcessTable = {
    home: { host, boot, namespace: `pid:${host}` },
    pid,
    startOf: (one) => (one === pid || alive.includes(one) ? (start ?? "5") : null),
    startedAtMs: () => Date.now(),
  };
  return table;
}

export async function openOn(
  disk: Disk,
  place: Place = {},
  more: { journal?: Journal; clock?: Clock } = {},
) {
  const store = await openFileStore({
    directory: disk.directory,
    sync: true,
    shared: false,
    journal: silentJournal,
    clock: shortClock,
    disk,
    processes: processesAt(place),
    commits: { segmentBytes: 64 * 4096, demand: 0 },
    ...more,
  });
  return store;
}

/** One that commits through its journal from now on. */
export async function engaged(
  disk: Disk,
  place: Place = {},
  more: { journal?: Journal; clock?: Clock } = {},
): Promise<FileStore> {
  const store = await openOn(disk, place, more);
  await storeMessage(store, TEXT);
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  return store;
}

export function faulty(code: string): Error {
  return Object.assign(new Error(`${code}: no luck`), { code, syscall: "open" });
}

/** The warnings and notes of a store, in words. */
export function listening(): { readonly told: string[]; readonly journal: Journal } {
  const told: string[] = [];
  const tell = (event: object) => void told.push(JSON.stringify(event));
  return { told, journal: { ...silentJournal, tell } };
}

export async function closing(opening: Promise<FileStore>): Promise<FileStore & AsyncDisposable> {
  const store = await opening;
  return Object.assign(store, { [Symbol.asyncDispose]: async () => await store.close() });
}

/** A Disk's methods as properties, so that some of them can be replaced. */
export function disks(disk: CrashingDisk): Disk {
  return {
    directory: disk.directory,
    journaling: disk.journaling,
    create: (name) => disk.create(name),
    open: (name) => disk.open(name),
    stat: (name) => disk.stat(name),
    link: (path, name) => disk.link(path, name),
    makeDirectory: (name) => disk.makeDirectory(name),
    rename: (from, to) => disk.rename(from, to),
    remove: (name) => disk.remove(name),
    list: (folder) => disk.list(folder),
    listKinds: () => disk.listKinds(),
    syncDirectory: async (folder) => await disk.syncDirectory(folder),
  };
}
