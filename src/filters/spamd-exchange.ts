/** One conversation with spamd: the content goes out while the answer comes in, a piece of each in memory at a time. */
import type { FileHandle } from "node:fs/promises";
import type { Socket } from "node:net";
import { HeadReader, SpamdFault, type SpamdHead } from "./spamd-reply.ts";

const PIECE = 65_536;
/** How long a spamd that has said everything may take to close, for us to see that it says no more. */
const LAST_WORDS_MS = 1000;

export interface Outgoing {
  readonly file: FileHandle;
  /** Bytes. */
  readonly size: number;
}

/** Takes the message that spamd sends back. */
export type Sink = (bytes: Buffer) => Promise<void>;

/**
 * Resolves to the head of an answer that is complete. Throws SpamdFault, and what reading the file
 * or the sink throw. The socket is destroyed at the end. `strict`: the message that comes back is wanted, so its length must be said and true.
 */
export async function exchange(
  socket: Socket,
  content: Outgoing,
  { sink, strict }: { readonly sink: Sink; readonly strict: boolean },
): Promise<SpamdHead> {
  const answer = new SpamdAnswer(sink, strict);
  const ends = await Promise.allSettled([
    send(socket, content, () => answer.expect()).catch((error: unknown) => {
      socket.destroy();
      throw error;
    }),
    receive(socket, answer, strict).finally(() => socket.destroy()),
  ]);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return answer.head();
}

/** Ends early, without a word, when the socket is gone. Calls `sent` just before the last byte goes out. */
async function send(socket: Socket, { file, size }: Outgoing, sent: () => void): Promise<void> {
  if (size === 0) sent();
  socket.write(`PROCESS SPAMC/1.4\r\nContent-length: ${size}\r\n\r\n`);
  for (let left = size; left > 0 && !socket.destroyed; ) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE, left));
    const { bytesRead } = await file.read(piece, 0, piece.length, null);
    if (bytesRead === 0) throw new SpamdFault("the content file has shrunk");
    left -= bytesRead;
    if (left === 0) sent();
    if (!socket.write(piece.subarray(0, bytesRead))) await drained(socket);
  }
}

/** Resolves when more can be written, or never any more. */
async function drained(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });
}

async function receive(socket: Socket, answer: SpamdAnswer, strict: boolean): Promise<void> {
  let lastWords: NodeJS.Timeout | null = null;
  try {
    for await (const chunk of heard(socket)) {
      await answer.take(chunk);
      if (answer.complete && !strict) return;
      if (answer.complete) lastWords ??= setTimeout(() => socket.destroy(), LAST_WORDS_MS);
    }
  } finally {
    if (lastWords !== null) clearTimeout(lastWords);
  }
}

/** What comes in. A connection that breaks ends it: the answer is then incomplete, or it is not. */
async function* heard(socket: Socket): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of socket) yield chunk as Buffer;
  } catch {
    // Told by what is missing.
  }
}

class SpamdAnswer {
  readonly #sink: Sink;
  readonly #strict: boolean;
  readonly #reader = new HeadReader();
  #head: SpamdHead | null = null;
  #bytes = 0;
  #expected = false;

  constructor(sink: Sink, strict: boolean) {
    this.#sink = sink;
    this.#strict = strict;
  }

  /** From now on an answer may be about the whole message. */
  expect(): void {
    this.#expected = true;
  }

  get complete(): boolean {
    const head = this.#head;
    return head !== null && this.#bytes === (head.contentLength ?? this.#bytes);
  }

  async take(chunk: Buffer): Promise<void> {
    const rest = this.#head === null ? this.#takeHead(chunk) : chunk;
    if (rest.length === 0) return;
    const length = this.#head?.contentLength ?? null;
    this.#bytes += rest.length;
    if (length === null) return;
    if (this.#bytes > length) throw new SpamdFault("spamd sent more than its Content-length");
    await this.#sink(rest);
  }

  /** Throws SpamdFault when the answer is not complete. */
  head(): SpamdHead {
    if (this.#head === null || !this.complete) throw new SpamdFault("peer disconnected");
    return this.#head;
  }

  #takeHead(chunk: Buffer): Buffer {
    const found = this.#reader.take(chunk);
    if (found === null) return Buffer.alloc(0);
    if (!this.#expected) throw new SpamdFault("spamd answered before it had the whole message");
    if (this.#strict && found.head.contentLength === null) {
      throw new SpamdFault("spamd answer without Content-length");
    }
    this.#head = found.head;
    return found.rest;
  }
}
