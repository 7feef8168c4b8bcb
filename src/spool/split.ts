/** New messages with the content of another one: prepared out of sight, then shown one after the other. */
import type { Envelope } from "../core/envelope.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk, DiskFile } from "../io/disk.ts";
import type { SharedSync } from "./commit.ts";
import { encodeEnvelope } from "./envelope-format.ts";
import { contentName, envelopeName, newName } from "./names.ts";
import { copyOf, filledWith, removeQuietly, stage, tryLink } from "./staging.ts";

/** What new messages need from the store. */
export interface Nursery {
  readonly disk: Disk;
  /** null for --no-sync. */
  readonly directory: SharedSync | null;
  /** Finds a free id by making its content file, and keeps everybody's hands off it until `end`. */
  newContent<T>(make: (name: string) => T): { readonly id: MessageId; readonly made: T };
  end(id: MessageId, queued: boolean): void;
}

interface Newcomer {
  readonly id: MessageId;
  stage: "hidden" | "shown";
}

/** Messages that are in the queue all together, or not at all. Dispose of it in any case. */
export class Newcomers implements Disposable {
  readonly #nursery: Nursery;
  readonly #all: Newcomer[] = [];
  #kept = false;

  constructor(nursery: Nursery) {
    this.#nursery = nursery;
  }

  get ids(): readonly MessageId[] {
    return this.#all.map(({ id }) => id);
  }

  /** One more content: a hard link, or a copy where links are not possible. */
  async addContent(content: { readonly path: string; readonly file: DiskFile }): Promise<void> {
    const { disk, directory } = this.#nursery;
    const { id, made } = this.#nursery.newContent((name) =>
      tryLink(disk, content, name) ? null : disk.create(name),
    );
    this.#all.push({ id, stage: "hidden" });
    if (made === null) return;
    try {
      await copyOf(content.file)(made);
      if (directory !== null) await made.sync();
    } finally {
      made.close();
    }
  }

  /** Their envelopes, in the order of the contents. */
  async addEnvelopes(envelopes: readonly Envelope[]): Promise<void> {
    const { disk, directory } = this.#nursery;
    for (const [at, { id }] of this.#all.entries()) {
      const envelope = envelopes[at];
      if (envelope === undefined) throw new Error("Each new message has an envelope");
      const name = newName(id);
      await stage(disk, name, directory !== null, filledWith(encodeEnvelope(envelope, name)));
    }
  }

  /** Resolves when all of them would survive a power cut; nobody of this process takes one before `keep()`. */
  async show(): Promise<void> {
    const { disk, directory } = this.#nursery;
    for (const newcomer of this.#all) {
      disk.rename(newName(newcomer.id), envelopeName(newcomer.id));
      newcomer.stage = "shown";
    }
    if (this.#all.length > 0) await directory?.flush();
  }

  keep(): void {
    this.#kept = true;
    for (const { id } of this.#all) this.#nursery.end(id, true);
  }

  [Symbol.dispose](): void {
    if (this.#kept) return;
    for (const newcomer of this.#all) this.#remove(newcomer);
  }

  /** Envelope first. A forwarder of another process that has the message already keeps it, with its content. */
  #remove({ id, stage: at }: Newcomer): void {
    const { disk } = this.#nursery;
    const envelope = at === "shown" ? envelopeName(id) : newName(id);
    const removed = removeQuietly(disk, envelope);
    if (removed || at === "hidden") removeQuietly(disk, contentName(id));
    this.#nursery.end(id, false);
  }
}
