/**
 * Blocks that large messages are gathered in, used again from message to message. A new one is memory that the system
 * has to find, to empty and to map page by page: more work than what is copied into it.
 */
import { giveBack } from "../io/give-back.ts";

export class BlockShelf {
  readonly #blockBytes: number;
  readonly #most: number;
  readonly #kept: Buffer[] = [];

  /** `most`: blocks that are kept; what is more when a rush of large mail ends is given back. */
  constructor(blockBytes: number, most: number) {
    this.#blockBytes = blockBytes;
    this.#most = most;
  }

  /** A block whose bytes may be anything. */
  take(): Buffer {
    return this.#kept.pop() ?? Buffer.allocUnsafeSlow(this.#blockBytes);
  }

  /** Once for each that was taken; nobody may be reading or writing it any more, nor any system call. */
  putBack(block: Buffer): void {
    if (this.#kept.length < this.#most) this.#kept.push(block);
    else giveBack(block);
  }
}
