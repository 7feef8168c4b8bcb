/**
 * Who leases from this spool: one small file per process in SPOOL/.relayd/holders, named
 * `<pid>.<process start time>`. It tells a lock whose owner is alive from one that a crash left.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  openSync,
  readdirSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { describeError, isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import { likeSpool, makeFolders } from "./holder-folder.ts";
import { encodeRecord, readHolder } from "./holder-record.ts";
import type { Home, ProcessTable } from "./process-table.ts";
import { RemovalMark, type Removing } from "./removal-mark.ts";

/** Another process that leases, or has leased, from this spool. */
export interface Holder {
  readonly name: string;
  readonly pid: number;
  /** It has written nothing before this (ms since 1970, by the clock of the file system). */
  readonly sinceMs: number;
  /** It has taken no lease before this; Infinity while it only receives. */
  readonly leasesSinceMs: number;
  /** What it was removing, or removed last; null when it has noted none. */
  readonly removing: Removing | null;
}

export interface Census {
  /** What holds for ourselves; Infinity while we are not registered. */
  readonly ownSinceMs: number;
  readonly live: readonly Holder[];
  readonly dead: readonly Holder[];
}

export interface Holders {
  /** Registers this process, as one that writes or one that leases; before it does. Cheap when done already. */
  enter(as?: "writer" | "forwarder"): void;
  /** True about every ten seconds while a dead holder's file is there: it may have left locks. */
  bereaved(): boolean;
  census(): Census;
  /** Called before a message is removed, its envelope first, that is in no journal of ours. `inode`: of its content. Cheap; tells nobody when it fails. */
  removing(id: MessageId, inode: number): void;
  /** True when another holder has our process id, or had it: in another container, in this process, or before us. */
  hasNamesake(): boolean;
  /** Removes what a dead holder has left. */
  forget(holder: Holder): void;
  /** A clean end. */
  leave(): Promise<void>;
}

/** For a disk that no other process can see. */
export const noOtherHolders: Holders = {
  enter: () => undefined,
  bereaved: () => false,
  census: () => ({ ownSinceMs: Number.POSITIVE_INFINITY, live: [], dead: [] }),
  removing: () => undefined,
  hasNamesake: () => false,
  forget: () => undefined,
  leave: async () => undefined,
};

const BEAT_MS = 10_000;
const SILENT_MS = 60_000;
const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;
/**
 * Whatever somebody has put in the place of our file: a fifo would keep us waiting, a link lead elsewhere. Not
 * truncated: a full disk would leave it empty.
 */
const REWRITE = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
/** Since when a holder may have leased of whom that cannot be read. */
const EVER_MS = 0;

export interface HoldersOptions {
  readonly spool: string;
  readonly clock: Clock;
  readonly processes: ProcessTable;
  readonly warn: (text: string) => void;
}

interface Registration {
  readonly name: string;
  sinceMs: number;
  /** null until the first lease. */
  leasesSinceMs: number | null;
}

/** Change times of files are behind the clock by as much, at the worst. */
const COARSE_MS = 100;

export function openHolders(options: HoldersOptions): Holders {
  return new HolderFiles(options);
}

class HolderFiles implements Holders {
  readonly #options: HoldersOptions;
  readonly #folder: string;
  readonly #stop = new AbortController();
  readonly #mark = new RemovalMark();
  #own: Registration | null = null;
  #heart: Promise<void> | null = null;
  #warned = false;
  /** The record that is in our file. */
  #written: string | null = null;
  #beats = 0;
  #lookedAt = 0;

  constructor(options: HoldersOptions) {
    this.#options = options;
    this.#folder = join(options.spool, ".relayd", "holders");
  }

  enter(as: "writer" | "forwarder" = "writer"): void {
    const now = this.#options.clock.now();
    this.#own ??= this.#register();
    const own = this.#own;
    // The clock went back? Leases taken now would seem older than we are.
    const early = now < own.sinceMs;
    if (early) own.sinceMs = now;
    const first = as === "forwarder" && (own.leasesSinceMs ?? Number.POSITIVE_INFINITY) > now;
    if (first) own.leasesSinceMs = now - COARSE_MS;
    if (early || first) this.#write(own);
    this.#heart ??= this.#beat();
  }

  bereaved(): boolean {
    if (this.#lookedAt === this.#beats) return false;
    this.#lookedAt = this.#beats;
    return this.census().dead.length > 0;
  }

  census(): Census {
    const live: Holder[] = [];
    const dead: Holder[] = [];
    for (const name of this.#names()) {
      if (name === this.#own?.name) continue;
      const holder = this.#read(name);
      if (holder !== null) (holder.alive ? live : dead).push(holder);
    }
    return { ownSinceMs: this.#own?.sinceMs ?? Number.POSITIVE_INFINITY, live, dead };
  }

  removing(id: MessageId, inode: number): void {
    if (this.#own === null || this.#written === null) return;
    const path = join(this.#folder, this.#own.name);
    // Times of files have fractions.
    const atMs = Math.floor(this.#options.clock.now()) + 1;
    this.#mark.write({ id, inode, atMs }, path, Buffer.byteLength(this.#written));
  }

  hasNamesake(): boolean {
    const { live, dead } = this.census();
    const { pid } = this.#options.processes;
    // Nobody would know of us who could not register.
    return this.#warned || [...live, ...dead].some((holder) => holder.pid === pid);
  }

  forget(holder: Holder): void {
    this.#unlink(holder.name);
  }

  async leave(): Promise<void> {
    this.#stop.abort();
    await this.#heart;
    this.#mark.close();
    if (this.#own !== null) this.#unlink(this.#own.name);
  }

  /** Never fails: a spool that cannot be written to has its own warnings. */
  #register(): Registration {
    const { processes, clock } = this.#options;
    const base = `${processes.pid}.${processes.startOf(processes.pid) ?? "0"}`;
    try {
      makeFolders(this.#options.spool, this.#folder);
      return this.#create(base);
    } catch (error) {
      this.#warnOnce(error);
      return { name: base, sinceMs: clock.now(), leasesSinceMs: null };
    }
  }

  /** Two stores of one process have a file each. */
  #create(base: string): Registration {
    for (let n = 0; ; n++) {
      const name = n === 0 ? base : `${base}.${n}`;
      try {
        const fd = openSync(join(this.#folder, name), "wx", 0o660);
        const sinceMs = fstatSync(fd).ctimeMs;
        closeSync(fd);
        const own = { name, sinceMs, leasesSinceMs: null };
        this.#write(own);
        likeSpool(this.#options.spool, join(this.#folder, name), 0o660);
        return own;
      } catch (error) {
        if (!isErrno(error, "EEXIST") || n === 100) throw error;
      }
    }
  }

  /** Writing, not utimes(): after privileges were given up the file may belong to root. */
  #write(own: Registration): void {
    const { home } = this.#options.processes;
    const text = encodeRecord({ ...home, since: own.sinceMs, leases: own.leasesSinceMs });
    try {
      // The spool may have been replaced by another directory.
      makeFolders(this.#options.spool, this.#folder);
      const fd = openSync(join(this.#folder, own.name), REWRITE, 0o660);
      try {
        this.#overwrite(fd, text);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      this.#warnOnce(error);
    }
  }

  /** In place: at every moment there is a record, the old one if the new one cannot be written. */
  #overwrite(fd: number, text: string): void {
    // Made anew where another directory has taken the spool's place.
    const isNew = fstatSync(fd).size === 0 || this.#written !== text;
    try {
      if (writeSync(fd, text, 0) < text.length) throw new Error("no more room");
      if (isNew) syncQuietly(fd);
      this.#written = text;
    } catch (error) {
      // The old one would say that we lease nothing: without any we count as leasing everything.
      if (this.#written !== text) ftruncateSync(fd);
      this.#touch(fd);
      throw error;
    }
  }

  /** The heartbeat alone. */
  #touch(fd: number): void {
    const nowSeconds = this.#options.clock.now() / 1000;
    try {
      futimesSync(fd, nowSeconds, nowSeconds);
    } catch {
      // It is root's since privileges were given up.
    }
  }

  async #beat(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(BEAT_MS, signal).catch(() => undefined);
      this.#beats += 1;
      this.#mark.close();
      if (this.#own !== null && !signal.aborted) this.#write(this.#own);
    }
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.#folder);
    } catch {
      return [];
    }
  }

  #read(name: string): (Holder & { readonly alive: boolean }) | null {
    const [, pid, start] = /^(\d{1,10})\.(\d+)(?:\.\d+)?$/.exec(name) ?? [];
    if (pid === undefined || start === undefined) return null;
    try {
      const found = readHolder(join(this.#folder, name));
      if (found === null) return null;
      const { mtimeMs, record, removing } = found;
      // What cannot be read may have written, and leased, ever since.
      const sinceMs = record?.since ?? EVER_MS;
      const leasesSinceMs = record === null ? EVER_MS : (record.leases ?? Number.POSITIVE_INFINITY);
      const known = { name, pid: Number(pid), sinceMs, leasesSinceMs, removing };
      const silent = this.#options.clock.now() - mtimeMs > SILENT_MS;
      return { ...known, alive: this.#isAlive(known.pid, start, record) ?? !silent };
    } catch {
      return null; // Gone in the meantime.
    }
  }

  /** null when only its heartbeat can tell: another container or host. */
  #isAlive(pid: number, start: string, record: Home | null): boolean | null {
    const { processes } = this.#options;
    const { host, boot, namespace } = processes.home;
    const runs = processes.startOf(pid) === start;
    // Nobody knows of which host it is: such a process may be one of ours.
    if (record === null) return runs || null;
    if (record.host !== host || record.namespace !== namespace) return null;
    return record.boot === boot && runs;
  }

  #unlink(name: string): void {
    try {
      unlinkSync(join(this.#folder, name));
    } catch {
      // Gone, or not ours to remove: a dead holder's file does no harm.
    }
  }

  #warnOnce(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    const why = describeError(error);
    this.#options.warn(`cannot register in "${this.#folder}": locks are not shared safely: ${why}`);
  }
}

/**
 * Before the first lock: a power cut may leave the name without the record, which would be believed to be alive as
 * long as its heartbeat is fresh. Where it cannot be synced that is all that happens.
 */
function syncQuietly(fd: number): void {
  try {
    fdatasyncSync(fd);
  } catch {
    // The locks are put back a minute later.
  }
}
