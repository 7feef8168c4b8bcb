/**
 * What a crash may have left in the spool, and what becomes of it: the state table of
 * docs/spool-states.md read backwards. Removes nothing that a living process may own.
 */
import { join } from "node:path";
import { describeError, isErrno, RelayError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk, FileFacts } from "../io/disk.ts";
import type { GivenUp } from "./given-up.ts";
import type { Census, Holder, Holders } from "./holders.ts";
import {
  badName,
  busyName,
  envelopeName,
  idBefore,
  isSpoolFile,
  makerOf,
  ownerOf,
} from "./names.ts";
import type { ProcessTable } from "./process-table.ts";
import { readEnvelope } from "./read-envelope.ts";
import { plainReason } from "./storage-errors.ts";

export interface RecoveryOptions {
  readonly disk: Disk;
  readonly holders: Holders;
  readonly processes: ProcessTable;
  /** True for messages that this store receives or leases. */
  readonly inHand: (id: MessageId) => boolean;
  /** Leases of ours that could not be put back when they ended; forgotten when their locks are gone. */
  readonly givenUp: GivenUp;
  /** At the start nothing that is not in hand can be ours. */
  readonly atStart: boolean;
  /** Another program leases from this spool too. */
  readonly shared: boolean;
  /** False while content that lies alone may still be wanted: nothing of that kind is removed. */
  readonly replayed: boolean;
  readonly nowMs: number;
  readonly warn: (text: string) => void;
  /** What an earlier call could not put right, and why: each is told once; kept by this one. */
  readonly told: Map<string, string>;
}

/** One thing that was put right. */
export interface Recovery {
  readonly id: MessageId;
  /** "put back in the queue", "removed half-written content" ... */
  readonly action: string;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Start times of processes are known to about a second. */
const SLACK_MS = 2000;

const DRAFT_PARTS = [
  { ending: ".envelope.new", what: "half-written envelope" },
  { ending: ".content", what: "half-written content" },
  // What a filter of ours was writing in the place of the other file.
  { ending: ".envelope.new.tmp", what: "half-written envelope" },
  { ending: ".content.tmp", what: "half-written content" },
  { ending: ".content.spamd", what: "half-written content" },
] as const;

/** What cannot be put right is named, and the others go on. `listed`: a listing of the directory. */
export function recover(options: RecoveryOptions, listed: readonly string[]): readonly Recovery[] {
  const { disk, holders, givenUp } = options;
  const census = holders.census();
  // Who is dead may have lived when it was listed, and removed an envelope since.
  const names = census.dead.length > 0 ? disk.list() : listed;
  const all = new Set(names);
  const done: Recovery[] = [];
  const judge = new Judge(options, census);
  const troubles = new Troubles(options);
  for (const name of names) {
    const found = troubles.guard(
      name,
      () => recoverLock(options, judge, name) ?? recoverRewrite(options, judge, name),
    );
    if (found !== null) done.push(found);
  }
  if (options.replayed) done.push(...recoverDrafts(options, { judge, troubles }, all));
  givenUp.settle(
    (id) => troubles.guard(busyName(id), () => disk.stat(busyName(id)) === null) === true,
  );
  const isNeeded = (holder: Holder) => troubles.any || judge.mayStillHold(holder);
  for (const holder of census.dead) if (!isNeeded(holder)) holders.forget(holder);
  troubles.keep();
  return done;
}

/** What could not be put right, by name, and why. */
class Troubles {
  readonly #options: RecoveryOptions;
  readonly #found = new Map<string, string>();

  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  /** null when it has failed, too. */
  guard<T>(name: string, act: () => T): T | null {
    try {
      return act();
    } catch (error) {
      // Another process was faster.
      if (!isErrno(error, "ENOENT")) this.#tell(name, error);
      return null;
    }
  }

  /** True when something is left as it was: who is dead may be needed to judge it the next time. */
  get any(): boolean {
    return this.#found.size > 0;
  }

  keep(): void {
    const { told } = this.#options;
    told.clear();
    for (const [name, why] of this.#found) told.set(name, why);
  }

  #tell(name: string, error: unknown): void {
    const { disk, told, warn } = this.#options;
    // Of the directory itself: the error says which folder.
    const why = name === "." ? describeError(error) : plainReason(error);
    const news = (this.#found.get(name) ?? told.get(name)) !== why;
    this.#found.set(name, why);
    if (news) warn(`cannot recover "${join(disk.directory, name)}": ${why}`);
  }
}

/** Answers who may own what. */
class Judge {
  readonly #options: RecoveryOptions;
  readonly #census: Census;
  /** The newest lock that had to stay. */
  #newestLockMs = Number.NEGATIVE_INFINITY;

  constructor(options: RecoveryOptions, census: Census) {
    this.#options = options;
    this.#census = census;
  }

  /**
   * True if nobody alive can have taken a lease at that time (a rename sets the change time). We know
   * our own leases; of other processes only since when they may have taken any.
   */
  isStale(changedMs: number): boolean {
    const { shared, nowMs, atStart } = this.#options;
    const { dead, ownSinceMs } = this.#census;
    const held = this.#mayBeHeld(changedMs);
    const crashed = dead.some((holder) => changedMs >= holder.sinceMs);
    const left = atStart || changedMs < ownSinceMs || crashed;
    const stale = !held && (shared ? nowMs - changedMs > HOUR_MS : left);
    if (!stale) this.#newestLockMs = Math.max(this.#newestLockMs, changedMs);
    return stale;
  }

  /**
   * True for a lease of ours that is over. Where another directory has its lock, a copy perhaps, that may be somebody
   * else's by now: of one who has no holder file (`--shared-spool`) only its age can tell.
   */
  isGivenUp(id: MessageId, changedMs: number): boolean {
    const { givenUp, shared } = this.#options;
    if (givenUp.isHere(id)) return true;
    return givenUp.has(id) && !shared && !this.#mayBeHeld(changedMs);
  }

  /** By another living holder. */
  #mayBeHeld(changedMs: number): boolean {
    return this.#census.live.some((holder) => changedMs >= holder.leasesSinceMs);
  }

  /** True while a lock is left that this dead holder may have taken: its file is the evidence. */
  mayStillHold(holder: Holder): boolean {
    return this.#newestLockMs >= holder.sinceMs;
  }

  /** True if the process that was writing this file is known to be gone. */
  isAbandoned(maker: number, facts: FileFacts): boolean {
    const { processes, nowMs } = this.#options;
    const { live, dead } = this.#census;
    const newestMs = Math.max(facts.modifiedMs, facts.changedMs);
    if (this.#livesHere(processes, maker, newestMs)) return false;
    if (nowMs - newestMs > DAY_MS) return true;
    if (live.some((holder) => holder.pid === maker)) return false;
    return dead.some((holder) => holder.pid === maker && newestMs >= holder.sinceMs);
  }

  /** True for the very file that a dead holder was about to remove, unless somebody has written to it since. */
  wasRemoved(id: MessageId, { inode, modifiedMs }: FileFacts): boolean {
    const { nowMs } = this.#options;
    return this.#census.dead.some(({ removing }) => {
      if (removing?.id !== id || removing.inode !== inode) return false;
      return modifiedMs <= removing.atMs && removing.atMs <= nowMs + SLACK_MS;
    });
  }

  /** Another process, or another store of ours, that may have it in hand: of this store's the caller knows. */
  #livesHere(processes: ProcessTable, pid: number, writtenMs: number): boolean {
    const ours = pid === processes.pid && !this.#census.live.some((holder) => holder.pid === pid);
    if (ours) return false;
    if (processes.startOf(pid) === null) return false;
    const startedMs = processes.startedAtMs(pid);
    return startedMs === null || startedMs <= writtenMs + SLACK_MS;
  }
}

/** A `.busy` that nobody holds goes back into the queue. */
function recoverLock(options: RecoveryOptions, judge: Judge, name: string): Recovery | null {
  const { disk } = options;
  const id = idBefore(".envelope.busy", name);
  if (id === null || options.inHand(id)) return null;
  const facts = disk.stat(name);
  if (facts?.kind !== "file") return null;
  if (!judge.isStale(facts.changedMs) && !judge.isGivenUp(id, facts.changedMs)) return null;
  const put = putBack(disk, id, name);
  if (put !== null) options.givenUp.forget(id);
  return put;
}

function putBack(disk: Disk, id: MessageId, name: string): Recovery | null {
  const waiting = disk.stat(envelopeName(id));
  if (waiting === null) {
    return rename(disk, busyName(id), envelopeName(id))
      ? { id, action: "put back in the queue" }
      : null;
  }
  if (makerOf(id) === null) return null;
  // Two envelopes for one message: the waiting one is what an operator or a filter made last, if it is one.
  demandEnvelope(disk, envelopeName(id), waiting);
  return remove(disk, name) ? { id, action: "removed a stale lock beside its envelope" } : null;
}

/** Throws when the file says nothing of a sender and recipients: only the lock beside it may know them. */
function demandEnvelope(disk: Disk, name: string, { kind }: FileFacts): void {
  try {
    // Opening a device may do anything.
    if (kind !== "file") throw new RelayError("ENVELOPE_SYNTAX", name, "not a regular file");
    readEnvelope(disk, name);
  } catch (error) {
    if (isErrno(error, "ENOENT")) throw error;
    const why = `cannot read the envelope beside it: ${plainReason(error)}`;
    throw new RelayError("ENVELOPE_SYNTAX", name, why);
  }
}

/** What was being written when its lease was lost. */
function recoverRewrite(options: RecoveryOptions, judge: Judge, name: string): Recovery | null {
  const id = idBefore(".envelope.busy.tmp", name) ?? idBefore(".envelope.tmp", name);
  if (id === null || makerOf(id) === null || options.inHand(id)) return null;
  const facts = options.disk.stat(name);
  if (facts?.kind !== "file" || !judge.isStale(facts.changedMs)) return null;
  return remove(options.disk, name) ? { id, action: "removed half-written envelope" } : null;
}

/** Parts of messages that nobody was told were accepted, and content whose envelope was removed. */
function recoverDrafts(
  options: RecoveryOptions,
  { judge, troubles }: { judge: Judge; troubles: Troubles },
  all: ReadonlySet<string>,
): readonly Recovery[] {
  const { disk } = options;
  const owners = new Set([...all].map(ownerOf));
  const alone: { id: MessageId; name: string; what: string }[] = [];
  for (const { ending, what } of DRAFT_PARTS) {
    for (const name of all) {
      const id = idBefore(ending, name);
      if (id === null) continue;
      const found = troubles.guard(name, () => isAlone(options, judge, owners, { id, name }));
      if (found === true) alone.push({ id, name, what });
    }
  }
  if (alone.length === 0) return [];
  // `copy:pop` keeps the content here and the envelopes in the mailboxes below.
  const elsewhere = troubles.guard(".", () => idsInFolders(disk));
  if (elsewhere === null) return [];
  const gone = alone.filter(({ id, name }) => {
    if (elsewhere.has(id)) return false;
    return troubles.guard(name, () => !hasEnvelope(disk, id) && remove(disk, name)) === true;
  });
  return gone.map(({ id, what }) => ({ id, action: `removed ${what}` }));
}

function isAlone(
  options: RecoveryOptions,
  judge: Judge,
  owners: ReadonlySet<MessageId | null>,
  part: { id: MessageId; name: string },
): boolean {
  const { id, name } = part;
  if (owners.has(id)) return false;
  const maker = makerOf(id);
  if (maker === null || options.inHand(id)) return false;
  const facts = options.disk.stat(name);
  if (facts?.kind !== "file") return false;
  return judge.isAbandoned(maker, facts) || judge.wasRemoved(id, facts);
}

/** A listing may miss a file that is renamed meanwhile: between `.envelope` and `.busy`, each way, or to `.bad`. */
function hasEnvelope(disk: Disk, id: MessageId): boolean {
  const names = [envelopeName(id), busyName(id), envelopeName(id), badName(id)];
  return names.some((name) => disk.stat(name) !== null);
}

/** Ids that have an envelope, in any state or parked, in a folder of the spool. */
export function idsInFolders(disk: Disk): ReadonlySet<MessageId> {
  const ids = new Set<MessageId>();
  for (const folder of disk.list()) {
    if (isSpoolFile(folder) || folder.startsWith(".")) continue;
    if (disk.stat(folder)?.kind !== "directory") continue;
    for (const name of disk.list(folder)) {
      const id = ownerOf(name) ?? idBefore(".envelope.new", name);
      if (id !== null) ids.add(id);
    }
  }
  return ids;
}

/** False when another process was faster. */
function rename(disk: Disk, from: string, to: string): boolean {
  return unlessGone(() => disk.rename(from, to));
}

function remove(disk: Disk, name: string): boolean {
  return unlessGone(() => disk.remove(name));
}

function unlessGone(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    // A spool that cannot be written to keeps what it has; the other messages go on.
    if (isErrno(error, "ENOENT", "EACCES", "EPERM", "EROFS")) return false;
    throw error;
  }
}
