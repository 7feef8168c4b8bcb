/** The content of one message on its way to the peer, in one piece or chunk by chunk. */
import type { Content } from "../core/store.ts";
import { type Chunk, chunks, DotStuffer, exactly, PART_BYTES } from "./client-content.ts";
import type { Transcript } from "./transcript.ts";

/** A message up to this size goes out in one write with its final dot. */
const WHOLE_BYTES = 65_536;
const CHUNK_BYTES = 1_000_000;

/**
 * Two buffers that large content is read into by turns: one is read into while the other is being
 * sent. They are used again from message to message, for new ones of this size are what the garbage
 * collector would be busy with most of the time.
 */
export class ReadBuffers {
  readonly #buffers: Uint8Array[] = [];
  #turn = 0;

  /** The one that was not returned last. */
  readonly next = (): Uint8Array => {
    this.#turn = 1 - this.#turn;
    this.#buffers[this.#turn] ??= Buffer.allocUnsafeSlow(PART_BYTES);
    return this.#buffers[this.#turn] ?? Buffer.alloc(0);
  };
}

export interface UploadOptions {
  readonly content: Content;
  readonly transcript: Transcript;
  /** The connection's own. */
  readonly buffers: ReadBuffers;
  /** Writes what is not the last of it; resolves when it has been taken over, and its buffers are free again. */
  readonly write: (pieces: readonly Uint8Array[]) => Promise<void>;
}

/** The last bytes before the peer's answer. */
export interface LastWords {
  readonly pieces: readonly Uint8Array[];
  /** True for the final dot or the last chunk. */
  readonly ended: boolean;
}

export class Upload {
  readonly #options: UploadOptions;
  #chunks: AsyncGenerator<Chunk, void, void> | null = null;
  #stopped = false;

  constructor(options: UploadOptions) {
    this.#options = options;
  }

  /**
   * Reads and writes all of it, or up to the end of the next chunk. Resolves to what is still to be
   * written; null when it was stopped meanwhile. Rejects when the content cannot be read.
   */
  async send(framing: "dot" | "chunk"): Promise<LastWords | null> {
    return framing === "dot" ? await this.#sendDots() : await this.#sendChunk();
  }

  /**
   * Does so, at once where the content is at hand. Content that cannot be read must not look complete
   * to the peer: then there is no final dot, and no next chunk.
   */
  begin(
    framing: "dot" | "chunk",
    concluded: (last: LastWords) => void,
    failed: (error: unknown) => void,
  ): void {
    let last: LastWords | null;
    try {
      last = this.#sendNow(framing);
    } catch (error) {
      failed(error);
      return;
    }
    if (last !== null) concluded(last);
    else {
      this.send(framing).then((later) => {
        if (later !== null) concluded(later);
      }, failed);
    }
  }

  /** null where it must be waited for. Throws when the content cannot be read. */
  #sendNow(framing: "dot" | "chunk"): LastWords | null {
    const { content } = this.#options;
    if (framing === "chunk" || content.size > WHOLE_BYTES) return null;
    const whole = content.whole?.() ?? null;
    if (whole === null || whole.length !== content.size) return null;
    const stuffer = new DotStuffer(this.#options.transcript.wanted);
    stuffer.add(whole);
    return this.#lastOf(stuffer);
  }

  /** Closes the content where it was left between two chunks. */
  stop(): void {
    this.#stopped = true;
    this.#chunks?.return().catch(() => undefined);
  }

  async #sendDots(): Promise<LastWords | null> {
    const { content, transcript, buffers, write } = this.#options;
    const stuffer = new DotStuffer(transcript.wanted);
    const large = content.size > WHOLE_BYTES;
    let left = content.size;
    let before: Promise<void> | null = null;
    for await (const part of exactly(content, large ? buffers.next : undefined)) {
      stuffer.add(part);
      left -= part.length;
      if (large && left > 0) {
        const now = stuffer.bytes === 0 ? null : write(stuffer.take());
        // The next chunk is read to where the one before this lies.
        await before;
        before = now;
      }
      if (this.#stopped) return null;
    }
    return this.#stopped ? null : this.#lastOf(stuffer);
  }

  #lastOf(stuffer: DotStuffer): LastWords {
    const { transcript } = this.#options;
    stuffer.end();
    if (transcript.wanted) {
      transcript.line("tx", `[${stuffer.lines} line(s) of content]`);
      transcript.line("tx", ".");
    }
    return { pieces: stuffer.take(), ended: true };
  }

  async #sendChunk(): Promise<LastWords | null> {
    this.#chunks ??= chunks(exactly(this.#options.content), CHUNK_BYTES);
    const { value: chunk } = await this.#chunks.next();
    if (this.#stopped || !chunk) return null;
    this.#options.transcript.line("tx", chunk.command);
    const pieces = [Buffer.from(`${chunk.command}\r\n`), ...chunk.pieces];
    return { pieces, ended: chunk.last };
  }
}
