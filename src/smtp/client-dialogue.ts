/**
 * Carries a conversation out on a socket: writes its steps, hands it the replies, and watches that
 * every reply comes in its turn and in time. What breaks a rule ends the connection; it never counts.
 */
import { setMaxListeners } from "node:events";
import type { Socket } from "node:net";
import { assertNever } from "../core/assert-never.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { Reply } from "../core/reply.ts";
import type { Content } from "../core/store.ts";
import type { Trouble } from "../core/transport.ts";
import { type Chunk, chunks, DotStuffer, exactly } from "./client-content.ts";
import { Patience } from "./client-patience.ts";
import {
  type Conversation,
  connectionTrouble,
  type Line,
  type Step,
  unexpected,
} from "./client-protocol.ts";
import { describeTlsError } from "./client-tls.ts";
import { Wire } from "./client-wire.ts";
import { ReplyParser } from "./reply-parser.ts";
import { Transcript } from "./transcript.ts";

/** Content is written in pieces of about this size; a message below it goes out in one write with its final dot. */
const BATCH_BYTES = 65_536;
const CHUNK_BYTES = 1_000_000;
const QUIT_MS = 1000;

export interface DialogueTerms {
  readonly peer: Peer;
  readonly journal: Journal;
  /**
   * For each reply as a whole, and for each pause in which the peer takes no content; 0 for no limit.
   * Also for the answer to the final dot: RFC 5321 4.5.3.2.6 would wait ten minutes, but
   * --response-timeout is the operator's word.
   */
  readonly responseMs: number;
}

export interface Hold {
  readonly content?: Content;
  /** Milliseconds for all of the conversation; 0 for no limit. */
  readonly budgetMs: number;
  /** What to say when they are over. */
  readonly overdue: string;
  readonly signal: AbortSignal;
}

interface Job {
  readonly conversation: Conversation;
  readonly content: Content | null;
  readonly over: () => void;
  readonly failed: (error: unknown) => void;
  chunks: AsyncGenerator<Chunk, void, void> | null;
}

export class Dialogue {
  readonly #socket: Socket;
  readonly #wire: Wire;
  readonly #terms: DialogueTerms;
  readonly #transcript: Transcript;
  readonly #patience: Patience;
  readonly #parser = new ReplyParser();
  #job: Job | null = null;
  #open = true;
  /** Replies that are still to come for what was written. */
  #due = 0;
  /** Content is being read and written: no reply may come. */
  #sending = false;
  #rechecked = false;
  /** The final dot or last chunk was handed to the socket. */
  #ended = false;
  /** At least one reply has come on this connection. */
  #heard = false;
  #quitAnswered: (() => void) | null = null;

  constructor(socket: Socket, terms: DialogueTerms) {
    this.#socket = socket;
    this.#wire = new Wire(socket);
    this.#terms = terms;
    this.#transcript = new Transcript(terms.journal, terms.peer);
    this.#patience = new Patience(terms.responseMs, this.#onOverdue);
    socket.on("data", this.#onData);
    socket.on("drain", this.#onDrain);
    socket.on("end", this.#onEnd);
    socket.on("close", this.#onEnd);
    socket.on("error", this.#onError);
    // A proxy's answer may have been read from it before, which leaves it paused.
    socket.resume();
  }

  /** True while another conversation can be held. */
  get alive(): boolean {
    return this.#open && !this.#socket.destroyed;
  }

  /**
   * Resolves when the conversation is done or lost: ask it what came of it. Rejects, with the
   * connection destroyed, when the content cannot be read or the signal is aborted.
   */
  async hold(conversation: Conversation, how: Hold): Promise<void> {
    if (!this.alive) {
      conversation.lost(connectionTrouble("peer disconnected"), false);
      return;
    }
    how.signal.throwIfAborted();
    // Many connections may share the signal that stops them all: that is no leak.
    setMaxListeners(0, how.signal);
    const abort = (): void => this.#fail(how.signal.reason);
    const late = (): void => this.#lose(connectionTrouble(how.overdue));
    const deadline = how.budgetMs > 0 ? setTimeout(late, how.budgetMs) : null;
    how.signal.addEventListener("abort", abort, { once: true });
    try {
      await new Promise<void>((over, failed) => {
        this.#job = { conversation, content: how.content ?? null, over, failed, chunks: null };
        this.#ended = false;
        this.#perform(conversation.start());
      });
    } finally {
      if (deadline !== null) clearTimeout(deadline);
      how.signal.removeEventListener("abort", abort);
    }
  }

  /** Gives the socket away for the TLS handshake; null if anything was heard that nobody asked for. */
  release(): Socket | null {
    if (!this.alive || !this.#parser.empty) return null;
    this.#patience.stop();
    this.#open = false;
    this.#socket.pause();
    this.#socket.off("data", this.#onData).off("drain", this.#onDrain);
    this.#socket.off("end", this.#onEnd).off("close", this.#onEnd);
    return this.#socket;
  }

  /**
   * Says QUIT and closes within a second. `linger`: our side is shut down with it and the peer closes
   * first; otherwise we close when it has answered.
   */
  async quit(linger: boolean): Promise<void> {
    if (!this.alive || this.#job !== null) {
      this.destroy();
      return;
    }
    this.#transcript.line("tx", "QUIT");
    this.#open = false;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, QUIT_MS);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#socket.once("close", done);
      if (linger) this.#socket.end("QUIT\r\n");
      else {
        this.#quitAnswered = done;
        this.#socket.write("QUIT\r\n");
      }
    });
    this.destroy();
  }

  destroy(): void {
    this.#open = false;
    this.#patience.stop();
    this.#socket.destroy();
    this.#wire.wake();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#parser.push(chunk);
    if (this.#open) this.#hear();
    else this.#drainQuit();
  };

  readonly #onDrain = (): void => {
    this.#patience.restart();
  };

  readonly #onOverdue = (): void => {
    // Our own disk may take its time; the peer may not.
    if (this.#job === null || (this.#sending && !this.#wire.blocked)) return;
    const why = `smtp error: response timeout after ${this.#terms.responseMs / 1000}s`;
    this.#lose(connectionTrouble(why));
  };

  readonly #onEnd = (): void => {
    if (this.#open) this.#lose(connectionTrouble("peer disconnected"));
  };

  readonly #onError = (error: Error): void => {
    if (!this.#open) return;
    const why = describeTlsError(error);
    if (why === null || this.#heard) {
      this.#lose(connectionTrouble("peer disconnected"));
      return;
    }
    // With TLS 1.3 a server that refuses our certificate says so only after our handshake is over.
    this.#terms.journal.tell({
      kind: "tls.failed",
      peer: this.#terms.peer,
      why: `SSL_read(): [${why}]`,
    });
    this.#lose({ kind: "tls", connected: true, why: "peer disconnected", reply: null });
  };

  /** Hands over as many replies as are due; anything else that has come is out of turn. */
  #hear(): void {
    while (this.#job !== null && !this.#parser.empty) {
      if (this.#due === 0 || this.#sending) {
        this.#outOfTurn();
        return;
      }
      if (this.#due === 1 && !this.#wire.flushed) {
        this.#recheck();
        return;
      }
      const heard = this.#parser.next();
      if (heard === null) return;
      if (heard.kind === "invalid") {
        this.#transcript.line("rx", heard.line);
        this.#lose(connectionTrouble("smtp error: invalid response"));
        return;
      }
      this.#take(this.#job, heard.reply);
    }
    if (this.#job === null && !this.#parser.empty && this.#open) this.#heardIdle();
  }

  #take(job: Job, reply: Reply): void {
    this.#transcript.reply(reply);
    this.#heard = true;
    this.#due -= 1;
    this.#patience.restart();
    this.#patience.greeted();
    this.#perform(job.conversation.reply(reply, this.#ended));
  }

  /**
   * A reply before the last of our bytes has left cannot be an answer to it. The news that they have
   * left may come one turn of the event loop later than the reply (TLS), so it is looked at twice.
   */
  #recheck(): void {
    if (this.#rechecked) return;
    this.#rechecked = true;
    setImmediate(() => {
      if (!this.#open || this.#job === null) return;
      if (this.#wire.flushed) this.#hear();
      else this.#outOfTurn();
    });
  }

  #outOfTurn(): void {
    const heard = this.#parser.next();
    if (heard?.kind === "reply") this.#transcript.reply(heard.reply);
    const early = heard?.kind === "reply" ? unexpected(heard.reply) : null;
    this.#lose(early ?? connectionTrouble("smtp error: invalid response"));
  }

  /** Between two messages only 421 makes sense; whatever it is, this connection is of no use now. */
  #heardIdle(): void {
    const heard = this.#parser.next();
    if (heard?.kind === "reply") this.#transcript.reply(heard.reply);
    this.destroy();
  }

  #drainQuit(): void {
    const heard = this.#parser.next();
    if (heard?.kind === "reply") this.#transcript.reply(heard.reply);
    if (heard !== null) this.#quitAnswered?.();
  }

  #perform(step: Step): void {
    switch (step.kind) {
      case "say":
        this.#say(step.lines);
        break;
      case "listen":
        this.#listen(step);
        break;
      case "content":
        this.#sendContent(step.framing);
        break;
      case "done":
        this.#finish(step.close);
        break;
      default:
        assertNever(step);
    }
  }

  #say(lines: readonly Line[]): void {
    // Early answers to commands that have not been said must not be taken for answers to them.
    if (!this.#parser.empty) {
      this.#outOfTurn();
      return;
    }
    let text = "";
    for (const line of lines) {
      this.#transcript.line("tx", line.shown);
      text += `${line.text}\r\n`;
    }
    this.#due = lines.length;
    this.#write([Buffer.from(text)]);
  }

  #listen(step: Extract<Step, { kind: "listen" }>): void {
    if (this.#due === 0) this.#due = 1;
    if (step.forMs <= 0) {
      this.#patience.restart();
      return;
    }
    this.#patience.prompt(step.forMs, () => {
      // One that has begun is waited for like any other reply.
      if (!this.#parser.empty) this.#patience.restart();
      else if (this.#job !== null) this.#perform(step.instead());
    });
  }

  #finish(close: boolean): void {
    const job = this.#job;
    this.#job = null;
    this.#due = 0;
    if (close) this.destroy();
    this.#letGo(job);
    job?.over();
  }

  #lose(trouble: Trouble): void {
    const job = this.#job;
    this.#job = null;
    this.destroy();
    this.#letGo(job);
    if (job === null) return;
    job.conversation.lost(trouble, this.#ended);
    job.over();
  }

  #fail(error: unknown): void {
    const job = this.#job;
    this.#job = null;
    this.destroy();
    this.#letGo(job);
    job?.failed(error);
  }

  /** Closes the content where it was left between two chunks. */
  #letGo(job: Job | null): void {
    job?.chunks?.return().catch(() => undefined);
  }

  #sendContent(framing: "dot" | "chunk"): void {
    const job = this.#job;
    if (!this.#parser.empty || job === null || job.content === null) {
      this.#outOfTurn();
      return;
    }
    this.#sending = true;
    const work =
      framing === "dot" ? this.#sendDots(job, job.content) : this.#sendChunk(job, job.content);
    // Content that cannot be read must not look complete to the peer: no final dot, no next chunk.
    work.catch((error: unknown) => {
      if (this.#job === job) this.#fail(error);
    });
  }

  async #sendDots(job: Job, content: Content): Promise<void> {
    const stuffer = new DotStuffer(this.#transcript.wanted);
    for await (const part of exactly(content)) {
      stuffer.add(part);
      if (stuffer.bytes >= BATCH_BYTES) await this.#writeSome(stuffer.take());
      if (this.#job !== job) return;
    }
    if (this.#job !== job) return;
    stuffer.end();
    this.#transcript.line("tx", `[${stuffer.lines} line(s) of content]`);
    this.#transcript.line("tx", ".");
    this.#conclude(stuffer.take(), true);
  }

  async #sendChunk(job: Job, content: Content): Promise<void> {
    job.chunks ??= chunks(exactly(content), CHUNK_BYTES);
    const { value: chunk } = await job.chunks.next();
    if (this.#job !== job || !chunk) return;
    this.#transcript.line("tx", chunk.command);
    this.#conclude([Buffer.from(`${chunk.command}\r\n`), ...chunk.pieces], chunk.last);
  }

  /** The last write before a reply. */
  #conclude(pieces: readonly Uint8Array[], ended: boolean): void {
    this.#sending = false;
    this.#ended = ended;
    this.#due = 1;
    this.#write(pieces);
  }

  #write(pieces: readonly Uint8Array[]): void {
    this.#rechecked = false;
    this.#patience.restart();
    this.#wire.write(pieces);
  }

  async #writeSome(pieces: readonly Uint8Array[]): Promise<void> {
    this.#patience.restart();
    await this.#wire.writeAll(pieces);
  }
}
