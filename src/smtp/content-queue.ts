/**
 * A large message on its way to one reader. What comes is copied into blocks: the buffers it came in are free at
 * once, a client that sends byte by byte costs no object for each, and the reader has few large pieces to write.
 */
import { BlockShelf } from "./block-shelf.ts";

/** One block is with the reader, one is filled meanwhile; then the client has to wait. */
const BLOCK_BYTES = 256 * 1024;

/** For all messages; 4 MB are kept. */
const shelf = new BlockShelf(BLOCK_BYTES, 16);

interface Block {
  readonly bytes: Buffer;
  used: number;
}

interface Waiter {
  resolve(result: IteratorResult<Uint8Array, undefined>): void;
  reject(error: Error): void;
}

/** Each piece holds until the next one is asked for. */
export class ContentQueue implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #whenRoom: () => void;
  /** In order; all but the last are full. */
  readonly #blocks: Block[] = [];
  /** What the reader has. */
  #lent: Block | null = null;
  /** To be filled again. */
  #spare: Block | null = null;
  #ended = false;
  #error: Error | null = null;
  #waiter: Waiter | null = null;

  /** `whenRoom` is called each time when the client need not wait any more. */
  constructor(whenRoom: () => void) {
    this.#whenRoom = whenRoom;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** False when the queue is full; what is pushed is kept all the same. */
  push(bytes: Uint8Array): boolean {
    if (this.#ended) return true;
    for (let done = 0; done < bytes.length; ) {
      const block = this.#unfilled();
      const count = Math.min(bytes.length - done, BLOCK_BYTES - block.used);
      block.bytes.set(bytes.subarray(done, done + count), block.used);
      block.used += count;
      done += count;
    }
    if (this.#waiter !== null && this.#full) this.#answer(this.#waiter);
    return !this.#full;
  }

  end(): void {
    this.#ended = true;
    if (this.#waiter !== null) this.#answer(this.#waiter);
  }

  fail(error: Error): void {
    if (this.#ended) return;
    this.#error = error;
    this.#forget();
    this.#waiter?.reject(error);
    this.#waiter = null;
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#takeBack();
    if (this.#error !== null) {
      this.#forget();
      return Promise.reject(this.#error);
    }
    const wasFull = this.#full;
    if (!wasFull && !this.#ended) {
      return new Promise((resolve, reject) => {
        this.#waiter = { resolve, reject };
      });
    }
    const result = this.#lend();
    if (wasFull && !this.#full) this.#whenRoom();
    return Promise.resolve(result);
  }

  /** The reader wants no more: the rest is thrown away as it comes. */
  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#takeBack();
    const wasFull = this.#full;
    this.#ended = true;
    this.#forget();
    if (wasFull) this.#whenRoom();
    return Promise.resolve({ done: true, value: undefined });
  }

  get #full(): boolean {
    return this.#blocks[0]?.used === BLOCK_BYTES;
  }

  #unfilled(): Block {
    const last = this.#blocks.at(-1);
    if (last !== undefined && last.used < BLOCK_BYTES) return last;
    const block = this.#spare ?? { bytes: shelf.take(), used: 0 };
    this.#spare = null;
    this.#blocks.push(block);
    return block;
  }

  #answer({ resolve }: Waiter): void {
    this.#waiter = null;
    resolve(this.#lend());
  }

  /** What there is, a block at most. */
  #lend(): IteratorResult<Uint8Array, undefined> {
    const block = this.#blocks.shift();
    if (block === undefined) {
      this.#forget();
      return { done: true, value: undefined };
    }
    this.#lent = block;
    return { done: false, value: block.bytes.subarray(0, block.used) };
  }

  /** The reader is done with what it has. */
  #takeBack(): void {
    const block = this.#lent;
    this.#lent = null;
    if (block === null) return;
    block.used = 0;
    if (this.#spare === null) this.#spare = block;
    else shelf.putBack(block.bytes);
  }

  /** Not what the reader has: it may be in the middle of a write. */
  #forget(): void {
    for (const { bytes } of this.#blocks.splice(0)) shelf.putBack(bytes);
    if (this.#spare !== null) shelf.putBack(this.#spare.bytes);
    this.#spare = null;
  }
}
