/**
 * Mail that has waited for long has left the system's memory, and each file would have to come from the disk while
 * everybody else waits. Those of the next messages are brought in beforehand, for as long as the disk is read at all.
 */
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { contentName, envelopeName } from "./names.ts";

/** Messages that are taken between two looks at how much was read, and brought in after one. */
const STEP = 16;
/** Four pages (4 kB): so much in a step is no accident. */
const ENOUGH_BLOCKS = 32;

export class ReadAhead {
  readonly #disk: Disk;
  #taken = 0;
  /** At the last look; null before the first one. */
  #blocks: number | null = null;
  #coming: readonly MessageId[] = [];
  /** In what is coming: where it has been taken up to, when that was last asked. */
  #at = 0;
  /** And the first that has not been brought in. */
  #next = 0;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** What will be taken, in this order, in place of what was said before. */
  announce(ids: readonly MessageId[]): void {
    this.#coming = ids;
    this.#at = 0;
    this.#next = 0;
  }

  /** Call it for each message whose files are read. */
  taken(id: MessageId): void {
    const { reading } = this.#disk;
    if (reading === undefined || this.#taken++ % STEP !== 0) return;
    const blocks = reading.blocksRead();
    const waited = this.#blocks !== null && blocks - this.#blocks >= ENOUGH_BLOCKS;
    this.#blocks = blocks;
    if (!waited) return;
    const at = this.#coming.indexOf(id, this.#at);
    if (at === -1) return;
    const end = at + 1 + 2 * STEP;
    const next = this.#coming.slice(Math.max(at + 1, this.#next), end);
    this.#at = at;
    this.#next = end;
    reading.prefetch(next.flatMap((one) => [envelopeName(one), contentName(one)]));
  }
}
