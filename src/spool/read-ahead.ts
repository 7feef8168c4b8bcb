/**
 * Mail that has waited for long has left the system's memory, and each file would have to come from the disk while
 * everybody else waits. Those of the next messages are brought in beforehand, for as long as the disk is read at all.
 */
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { contentName, envelopeName } from "./names.ts";

/** Up to `count` messages that wait, in the order in which they are taken after this one. */
export type Following = (id: MessageId, count: number) => readonly MessageId[];

/** Messages that are taken between two looks at how much was read, and brought in after one. */
const STEP = 16;
/** Four pages (4 kB): so much in a step is no accident. */
const ENOUGH_BLOCKS = 32;

export class ReadAhead {
  readonly #disk: Disk;
  readonly #following: Following;
  #taken = 0;
  /** At the last look; null before the first one. */
  #blocks: number | null = null;
  /** The last message that was brought in. */
  #last: MessageId | null = null;

  constructor(disk: Disk, following: Following) {
    this.#disk = disk;
    this.#following = following;
  }

  /** Call it for each message whose files are read. */
  taken(id: MessageId): void {
    const { reading } = this.#disk;
    if (reading === undefined || this.#taken++ % STEP !== 0) return;
    const blocks = reading.blocksRead();
    const waited = this.#blocks !== null && blocks - this.#blocks >= ENOUGH_BLOCKS;
    this.#blocks = blocks;
    if (!waited) return;
    const next = this.#following(id, 2 * STEP);
    const begun = this.#last === null ? -1 : next.indexOf(this.#last);
    const names = next.slice(begun + 1).flatMap((one) => [envelopeName(one), contentName(one)]);
    reading.bring(names);
    this.#last = next.at(-1) ?? null;
  }
}
