/**
 * What waits, as an index in memory that follows the directory: listed at the start and when
 * something changed from outside, never once per message.
 */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";
import { describeError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { Hints } from "./hints.ts";
import { Demand } from "./journal-demand.ts";
import { envelopeName, idBefore, waitingId } from "./names.ts";
import type { SpoolPlace } from "./place.ts";
import { ReadyIndex } from "./ready-index.ts";
import { storageError } from "./storage-errors.ts";
import { type SpoolWatch, watchSpool } from "./watch.ts";

export interface QueueOptions {
  readonly disk: Disk;
  readonly place: SpoolPlace;
  readonly clock: Clock;
  /** True for messages that this store receives or leases: their files say nothing new. */
  readonly inHand: (id: MessageId) => boolean;
  /** Messages in hand that wait all the same: they are listed by this store only. */
  readonly reserved: () => Iterable<MessageId>;
  readonly warn: (text: string) => void;
}

/** A listing that is faster than this may be repeated at will ... */
const CHEAP_MS = 5;
/** ... and of a slower one only one part in so many of our time. */
const LISTING_SHARE = 20;
/** Time stamps of files are this coarse at the worst, on file systems worth a spool. */
const STAMP_MS = 50;
/**
 * Being told of each file that we make, rename and remove costs more than all looks that would notice what
 * others do: who adds or takes more than so many messages a second looks, once in so many milliseconds ...
 */
const BUSY = 100;
const LOOK_MS = 250;
/** ... or less often, where there are many names: looks take one part in so many of our time. */
const LOOKING_SHARE = 50;

/** What stands in a listing for bytes that are not UTF-8. */
const NOT_UTF8 = "\uFFFD";

export class Queue {
  readonly #options: QueueOptions;
  readonly #index = new ReadyIndex();
  readonly #hints = new Hints();
  /** Which directory, changed when, as last listed; null when it must be listed again. */
  #listed: string | null = null;
  #nextListingMs = 0;
  /** The last listing. */
  #tookMs = 0;
  /** Names that were no plain files then: directories, links, fifos; and those of envelopes whose lock was there. */
  #others: ReadonlySet<string> = new Set();
  /** Names that are not UTF-8, in the last listing: each is told once. */
  #misnamed: ReadonlySet<string> = new Set();
  #watching: { readonly inode: number; readonly watch: SpoolWatch } | null = null;
  readonly #coming = new Demand(BUSY);
  readonly #going = new Demand(BUSY);
  #moves = 0;
  /** While we look instead of watching. */
  #looking = false;
  readonly #closing = new AbortController();

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** `asked`: somebody wants to know what is there now. Throws SPOOL_IO when the directory cannot be listed. */
  async ready(asked = false): Promise<readonly MessageId[]> {
    // What others did before this call is in the watcher's pipe by now: one turn takes it out.
    if (this.#watching !== null) await setImmediate();
    if (this.#isOutdated() || (asked && this.#looking)) this.list();
    return this.#index.snapshot();
  }

  add(id: MessageId): void {
    this.#index.add(id);
    this.#moved(this.#coming);
  }

  delete(id: MessageId): void {
    this.#index.delete(id);
    this.#moved(this.#going);
  }

  /** False for what has not been seen, or was no plain file then, or had a lock beside it; who knows what it is now. */
  isPlain(id: MessageId): boolean {
    if (!this.#index.has(id)) return false;
    return this.#others.size === 0 || !this.#others.has(envelopeName(id));
  }

  /** It was in hand, and nobody has heard what was done about its envelope meanwhile. */
  lookAt(id: MessageId): void {
    this.#changed(envelopeName(id));
  }

  /** What waits may be taken from now on. */
  hint(): void {
    this.#hints.give();
  }

  changes(signal: AbortSignal): AsyncIterable<void> {
    return this.#hints.follow(signal);
  }

  /** Lists the directory now; resolves to all names in it. Throws SPOOL_IO. */
  list(): readonly string[] {
    const { disk, clock, inHand } = this.#options;
    const started = clock.monotonic();
    const stamp = this.#stamp();
    let found: ReturnType<Disk["listKinds"]>;
    try {
      found = disk.listKinds();
    } catch (error) {
      this.#listed = null;
      throw storageError(error, "list", disk.directory);
    }
    const { names, others } = found;
    const ids: MessageId[] = [];
    const locked: string[] = [];
    const misnamed = new Set<string>();
    for (const name of names) {
      const held = idBefore(".envelope.busy", name);
      if (held !== null && !inHand(held)) locked.push(envelopeName(held));
      const id = waitingId(name);
      if (id === null || inHand(id)) continue;
      if (name.includes(NOT_UTF8) && !this.#canReach(name)) misnamed.add(name);
      else ids.push(id);
    }
    this.#tellMisnamed(misnamed);
    ids.push(...this.#options.reserved());
    this.#others = locked.length === 0 ? others : new Set([...others, ...locked]);
    this.#listed = stamp;
    const grown = this.#index.replace(ids);
    const ended = clock.monotonic();
    this.#tookMs = ended - started;
    this.#nextListingMs = this.#tookMs < CHEAP_MS ? ended : ended + this.#tookMs * LISTING_SHARE;
    if (grown) this.#hints.give();
    return names;
  }

  /** False for a name that cannot be given back as it was read. */
  #canReach(name: string): boolean {
    try {
      return this.#options.disk.stat(name) !== null;
    } catch {
      return false; // With what stands in it for each byte it may be too long.
    }
  }

  /** They stay where they are: neither we nor a filter that is told a path could open them. */
  #tellMisnamed(found: ReadonlySet<string>): void {
    const { disk, warn } = this.#options;
    for (const name of found) {
      if (this.#misnamed.has(name)) continue;
      const path = join(disk.directory, name);
      warn(`ignoring "${path}": name is not UTF-8: rename envelope and content to have it sent`);
    }
    this.#misnamed = found;
  }

  /** Follows changes from outside. When that is not possible the directory's time stamp has to do. */
  async watch(): Promise<void> {
    const { disk, place, warn } = this.#options;
    try {
      const inode = place.facts()?.inode ?? -1;
      const watch = await watchSpool(disk.directory, {
        changed: (name) => this.#changed(name),
        failed: (error) => void this.#unwatch(error).catch(() => undefined),
      });
      this.#watching = { inode, watch };
    } catch (error) {
      warn(`cannot watch "${disk.directory}": ${describeError(error)}`);
    }
    if (this.#closing.signal.aborted) await this.close();
    this.#listed = null; // Whatever happened since the last listing.
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#letGo();
  }

  /** We did: the watcher has nothing to say about that. */
  #moved(demand: Demand): void {
    this.#moves += 1;
    if (this.#watching === null) return;
    if (demand.risen(this.#options.clock.monotonic())) {
      this.#lookInstead().catch(() => undefined);
    }
  }

  /** Looks while many messages come or go, and watches again when that is over. */
  async #lookInstead(): Promise<void> {
    const { clock } = this.#options;
    this.#looking = true;
    // What it has told is known: there is no need to look at once.
    await this.#letGo().catch(() => undefined);
    let nextMs = clock.monotonic() + this.#tookMs * LOOKING_SHARE;
    while (this.#looking) {
      const before = this.#moves;
      await clock.sleep(LOOK_MS, this.#closing.signal).catch(() => undefined);
      if (this.#closing.signal.aborted) return;
      this.#looking = this.#moves - before >= (BUSY * LOOK_MS) / 1000;
      if (this.#looking && clock.monotonic() >= nextMs) nextMs = this.#look();
    }
    await this.watch();
    // Somebody may have added a message since the last look.
    this.#hints.give();
  }

  /** Returns when it is time for the next one. */
  #look(): number {
    try {
      this.list();
    } catch {
      // Whoever asks for what is ready is told.
    }
    return this.#options.clock.monotonic() + this.#tookMs * LOOKING_SHARE;
  }

  #isOutdated(): boolean {
    if (this.#listed === null) return true;
    if (this.#looking) return false;
    const inode = this.#options.place.facts()?.inode ?? null;
    if (inode === null) return true;
    if (this.#watching !== null) {
      if (this.#watching.inode === inode) return false;
      // Another directory has taken its place: the watcher still looks at the old one.
      void this.#unwatch(null)
        .then(async () => await this.watch())
        .catch(() => undefined);
      return true;
    }
    return this.#options.clock.monotonic() >= this.#nextListingMs && this.#stamp() !== this.#listed;
  }

  /** Never equal to another one while the directory may still change within the same time stamp. */
  #stamp(): string {
    const { place, clock } = this.#options;
    const facts = place.facts();
    if (facts === null) return "";
    const now = clock.now();
    const settled = now - facts.modifiedMs > STAMP_MS;
    return `${facts.inode} ${facts.modifiedMs} ${settled ? "" : now}`;
  }

  #changed(name: string | null): void {
    if (name === null) {
      this.#listed = null;
      this.#hints.give();
      return;
    }
    const id = waitingId(name);
    if (id === null || this.#options.inHand(id) || this.#index.has(id)) return;
    if (name.includes(NOT_UTF8)) {
      this.#changed(null); // A listing tells what it is.
      return;
    }
    try {
      if (this.#options.disk.stat(name)?.kind !== "file") return;
      this.#index.add(id);
    } catch {
      // Whoever lists the directory is told what is wrong.
      this.#listed = null;
    }
    this.#hints.give();
  }

  async #unwatch(error: unknown): Promise<void> {
    this.#listed = null;
    if (error !== null && this.#watching !== null) {
      const { disk, warn } = this.#options;
      warn(`lost sight of "${disk.directory}": ${describeError(error)}`);
    }
    await this.#letGo();
  }

  async #letGo(): Promise<void> {
    const watching = this.#watching;
    this.#watching = null;
    await watching?.watch.close();
  }
}
