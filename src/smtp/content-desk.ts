/** Where a session's content goes: takes it out of DATA or BDAT framing and hands it to the reception. */
import type { Clock } from "../core/clock.ts";
import { displayAddress } from "../core/endpoint.ts";
import { describeError } from "../core/errors.ts";
import type { Peer } from "../core/events.ts";
import { ClientGone, type Reception, type Submission } from "../core/intake.ts";
import type { Reply } from "../core/reply.ts";
import { ChunkWatch } from "./chunk-watch.ts";
import { DataReader } from "./data.ts";
import { IncomingMessage } from "./incoming.ts";
import type { LineReader } from "./line.ts";
import { receivedLine } from "./received.ts";
import type { ServerProtocol, ServerRules } from "./server-protocol.ts";
import type { Transcript } from "./transcript.ts";

export interface ContentDeskOptions {
  readonly house: {
    readonly rules: ServerRules;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  };
  readonly peer: Peer;
  readonly transcript: Transcript;
  readonly protocol: ServerProtocol;
  readonly reception: Reception;
  /** Called when content can go on after "full". */
  readonly whenRoom: () => void;
  /** Called with the reply to a message that was taken to its end. */
  readonly whenAnswered: (reply: Reply) => void;
}

/**
 * What became of the input: all of it taken, no room for more, a BDAT done (`room`: whether there is room for another one
 * now), or the message complete.
 */
export type Taken =
  | { readonly kind: "more" }
  | { readonly kind: "full" }
  | {
      readonly kind: "chunk";
      readonly size: number;
      readonly tooBig: boolean;
      readonly room: boolean;
    }
  | { readonly kind: "end" };

/** Longer lines are told of; they are against RFC 5322 2.1.1, but pass. */
const LONG_LINE = 1000;

const MORE: Taken = { kind: "more" };
const FULL: Taken = { kind: "full" };
const END: Taken = { kind: "end" };

export class ContentDesk {
  readonly #options: ContentDeskOptions;
  #message: IncomingMessage | null = null;
  /** Framing of DATA; null for BDAT. */
  #reader: DataReader | null = null;
  /** What DATA could not hold; null for DATA itself and for BINARYMIME. */
  #watch: ChunkWatch | null = null;
  #chunk: { readonly size: number; left: number; readonly last: boolean } | null = null;
  /** The reception at work. */
  #receipt: Promise<void> | null = null;
  /** The reception's answer to a message that still comes in. */
  #early: Reply | null = null;

  constructor(options: ContentDeskOptions) {
    this.#options = options;
  }

  /** True while what comes is content and not commands. */
  get receiving(): boolean {
    return this.#reader !== null || this.#chunk !== null;
  }

  /** True while there is an incomplete message, also between its chunks. */
  get open(): boolean {
    return this.#message !== null;
  }

  beginData(): void {
    this.#message = this.#begin();
    this.#reader = new DataReader(this.#options.house.rules.config.bareNewlines);
  }

  beginChunk(size: number, last: boolean): void {
    if (this.#message === null) {
      const { house, protocol } = this.#options;
      this.#message = this.#begin();
      this.#watch = protocol.binary ? null : new ChunkWatch(house.rules.config.bareNewlines);
    }
    this.#chunk = { size, left: size, last };
  }

  /** Takes the content at the start of the input. */
  take(input: LineReader): Taken {
    if (this.#message === null) return MORE;
    return this.#reader === null
      ? this.#takeChunk(input, this.#message)
      : this.#takeData(input, this.#message, this.#reader);
  }

  /** The message is complete: its reply comes by `whenAnswered`, never before this returns. */
  finish(): void {
    const message = this.#message;
    if (message === null) return;
    this.#options.transcript.line("rx", "[message content not logged]");
    if (this.#reader !== null) this.#options.transcript.line("rx", ".");
    const found = this.#reader ?? this.#watch;
    message.end(found === null ? null : this.#judge(found));
    this.#reader = null;
    this.#watch = null;
    this.#chunk = null;
    const early = this.#early;
    if (early !== null) queueMicrotask(() => this.#answer(message, early));
    else if (!message.streams) this.#deliver(message);
  }

  /** The client gives the message up. */
  abandon(): void {
    this.#message?.fail();
    this.#message = null;
    this.#reader = null;
    this.#watch = null;
    this.#chunk = null;
    this.#early = null;
  }

  /** The session is over. A message that came completely is still finished. */
  close(): void {
    if (this.#message?.complete !== true) this.abandon();
    this.#dispose().catch((error: unknown) => this.#complain(error));
  }

  async #dispose(): Promise<void> {
    await this.#receipt;
    await this.#options.reception[Symbol.asyncDispose]();
  }

  #begin(): IncomingMessage {
    const { house, peer, protocol } = this.#options;
    const { config, domain } = house.rules;
    const received = config.anonymous.content
      ? ""
      : receivedLine({
          helo: protocol.helo,
          address: peer.address,
          domain,
          authenticated: protocol.authenticated,
          cipher: protocol.encryption?.cipher ?? "",
          now: house.clock.now(),
        });
    return new IncomingMessage(received, config);
  }

  #takeData(input: LineReader, message: IncomingMessage, reader: DataReader): Taken {
    const bytes = input.peek();
    const end = reader.push(bytes);
    input.advance(end < 0 ? bytes.length : end);
    let room = true;
    for (const piece of reader.content) room = message.push(piece) && room;
    if (message.streams) input.giveBack();
    if (end >= 0) return END;
    this.#afterPush(message, input);
    return room ? MORE : FULL;
  }

  #takeChunk(input: LineReader, message: IncomingMessage): Taken {
    const chunk = this.#chunk;
    if (chunk === null) return MORE;
    const count = Math.min(chunk.left, input.pending);
    let room = true;
    if (count > 0) {
      const bytes = input.peek().subarray(0, count);
      this.#watch?.push(bytes);
      room = message.push(bytes);
    }
    input.advance(count);
    if (message.streams) input.giveBack();
    chunk.left -= count;
    if (chunk.left > 0) {
      this.#afterPush(message, input);
      return room ? MORE : FULL;
    }
    if (chunk.last) return END;
    this.#chunk = null;
    this.#options.transcript.line("rx", "[message content not logged]");
    this.#afterPush(message, input);
    return { kind: "chunk", size: chunk.size, tooBig: message.tooBig, room };
  }

  /** Once a message is too large for memory, it streams. */
  #afterPush(message: IncomingMessage, input: LineReader): void {
    if (!message.isLarge) return;
    const alone = input.pending === 0;
    message.stream(this.#options.whenRoom, alone);
    if (alone) input.giveBack();
    this.#deliver(message);
  }

  #deliver(message: IncomingMessage): void {
    this.#receipt = this.#receive(this.#receipt, message);
  }

  /** A reception takes its messages one after the other, also after one that was given up. */
  async #receive(before: Promise<void> | null, message: IncomingMessage): Promise<void> {
    const submission = this.#submission(message);
    if (before !== null) await before;
    let reply: Reply;
    try {
      reply = await this.#options.reception.receive(submission, this.#options.house.signal);
    } catch (error) {
      if (!(error instanceof ClientGone)) this.#complain(error);
      reply = { code: 451, text: "4.3.0 local error in processing" };
    }
    if (message !== this.#message) return;
    if (message.complete) this.#answer(message, reply);
    else this.#early = reply;
  }

  #submission(content: IncomingMessage): Submission {
    const { peer, protocol } = this.#options;
    const { encryption, envelope, account } = protocol;
    const tls = encryption === null ? "" : `${encryption.protocol} ${encryption.cipher}`;
    return { envelope, content, peer, account, tls };
  }

  #answer(message: IncomingMessage, reply: Reply): void {
    if (message !== this.#message) return;
    this.#message = null;
    this.#early = null;
    this.#options.whenAnswered(reply);
  }

  /** What is wrong with the bytes of a message, or null. */
  #judge(found: DataReader | ChunkWatch): Reply | null {
    const { house, peer } = this.#options;
    const { bareNewlines } = house.rules.config;
    if (found.longestLine > LONG_LINE) {
      this.#warn(`very long line detected: ${found.longestLine} > ${LONG_LINE}`);
    }
    if (found.nul) return { code: 550, text: "5.6.11 NUL in message content" };
    if (found.bareNewlines === 0) return null;
    if (bareNewlines === "reject")
      return { code: 550, text: "5.6.11 bare CR or LF in message content" };
    if (bareNewlines === "fix") {
      const from = displayAddress(peer.address, peer.port);
      const count = `${found.bareNewlines} stored as CRLF`;
      this.#warn(`bare CR or LF in message content from ${from}: ${count}`);
    }
    return null;
  }

  #warn(text: string): void {
    const { journal } = this.#options.house.rules;
    journal.tell({ kind: "note", level: "warning", detail: false, text });
  }

  #complain(error: unknown): void {
    const text = `smtp server: ${describeError(error)}`;
    this.#options.house.rules.journal.tell({ kind: "note", level: "error", detail: false, text });
  }
}
