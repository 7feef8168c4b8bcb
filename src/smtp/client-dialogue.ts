/**
 * Carries a conversation out on a socket: writes its steps, hands it the replies, and watches that
 * every reply comes in its turn and in time. What breaks a rule ends the connection; it never counts.
 */
import type { Socket } from "node:net";
import { assertNever } from "../core/assert-never.ts";
import type { Reply } from "../core/reply.ts";
import type { Content } from "../core/store.ts";
import type { Trouble } from "../core/transport.ts";
import { sayQuit } from "./client-farewell.ts";
import { Patience } from "./client-patience.ts";
import {
  type Conversation,
  connectionTrouble,
  type Line,
  listen,
  type Step,
  unexpected,
} from "./client-protocol.ts";
import { Replies } from "./client-replies.ts";
import { StopSignal } from "./client-stop.ts";
import { lostBy } from "./client-tls.ts";
import { type DialogueTerms, type Held, type Hold, type Job, Turns } from "./client-turns.ts";
import { type LastWords, ReadBuffers, Upload } from "./client-upload.ts";
import { sizeOf, Wire } from "./client-wire.ts";
import { Transcript } from "./transcript.ts";

const NO_REPLY = connectionTrouble("smtp error: invalid response");

export class Dialogue {
  readonly #socket: Socket;
  readonly #wire: Wire;
  readonly #terms: DialogueTerms;
  readonly #transcript: Transcript;
  readonly #patience: Patience;
  readonly #replies: Replies;
  readonly #buffers = new ReadBuffers();
  readonly #stop = new StopSignal((reason) => {
    if (this.#job === null) return;
    this.#turns.fail(reason);
    this.#fail(reason);
  });
  readonly #turns = new Turns();
  #job: Job | null = null;
  #open = true;
  /** Content is being read and written: no reply may come. */
  #sending = false;
  /** The final dot or last chunk was handed to the socket; whether it has left, the wire may know. */
  #ended = false;
  /** All has been said but for the answer to that. */
  #concluded = false;
  /** Something was said that is not to be: nothing more can be. */
  #spoilt = false;
  /** At least one reply has come on this connection. */
  #heard = false;

  constructor(socket: Socket, terms: DialogueTerms) {
    this.#socket = socket;
    this.#wire = new Wire(socket);
    this.#terms = terms;
    this.#transcript = new Transcript(terms.journal, terms.peer);
    this.#replies = new Replies(this.#transcript, () => this.#wire.flushed);
    this.#patience = new Patience(terms.responseMs, this.#onOverdue);
    socket.on("data", this.#onData);
    socket.on("drain", this.#onDrain);
    socket.on("end", this.#onEnd);
    socket.on("close", this.#onEnd);
    socket.on("error", this.#onError);
    // A proxy's answer may have been read from it before, which leaves it paused.
    socket.resume();
  }

  /** True if a reply has ever come. */
  get heard(): boolean {
    return this.#heard;
  }

  /** True while another conversation can be held. */
  get alive(): boolean {
    return this.#open && !this.#socket.destroyed;
  }

  /** True if it can be held on this connection after the present one. */
  get lasts(): boolean {
    return this.alive && !this.#spoilt;
  }

  /**
   * Resolves when the conversation is done or lost: ask it what came of it. Waits for its turn while
   * another one is held. Rejects, with the connection destroyed, when the content cannot be read or
   * the signal is aborted.
   */
  async hold(conversation: Conversation, how: Hold): Promise<Held> {
    if (!this.alive) {
      conversation.lost(connectionTrouble("peer disconnected"), false);
      return "over";
    }
    this.#stop.obey(how.signal);
    return await new Promise<Held>((over, failed) => {
      const job = { conversation, how, upload: this.#upload(how.content), over, failed };
      if (this.#job === null) this.#begin(job, false);
      else this.#wait(job);
    });
  }

  /** Lets go of a conversation that has waited too long for the one before. */
  withdraw(): void {
    if (this.#turns.withdraw()) this.#spoilt = true;
  }

  /** Gives the socket away; null if anything was heard that nobody asked for. */
  release(): Socket | null {
    if (!this.alive || !this.#replies.empty) return null;
    this.#letGoOfAll();
    this.#socket.pause();
    this.#socket.off("data", this.#onData).off("drain", this.#onDrain);
    this.#socket.off("end", this.#onEnd).off("close", this.#onEnd);
    return this.#socket;
  }

  /** Says QUIT and closes within a second; `linger` as in a farewell. */
  async quit(linger: boolean): Promise<void> {
    const socket = this.#job === null ? this.release() : null;
    if (socket === null) this.destroy();
    else await sayQuit(socket, { transcript: this.#transcript, linger });
  }

  destroy(): void {
    this.#letGoOfAll();
    this.#socket.destroy();
    this.#wire.wake();
  }

  #letGoOfAll(): void {
    this.#open = false;
    this.#turns.lose();
    this.#patience.stop();
    this.#stop.obey(null);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#replies.push(chunk);
    this.#hear();
  };

  readonly #onDrain = (): void => this.#patience.restart();

  readonly #onOverdue = (): void => {
    // Our own disk may take its time; the peer may not.
    if (this.#job === null || (this.#sending && !this.#wire.blocked)) return;
    const why = `smtp error: response timeout after ${this.#terms.responseMs / 1000}s`;
    this.#lose(connectionTrouble(why));
  };

  readonly #onEnd = (): void => this.#over(connectionTrouble("peer disconnected"));

  readonly #onError = (error: Error): void => {
    if (this.#open) this.#over(lostBy(error, this.#heard, this.#terms));
  };

  /** At once, or when it is known what has left, and so what may be heard that was said before. */
  #over(trouble: Trouble): void {
    const over = (): void => {
      if (this.#wire.flushed) this.#hear();
      if (this.#open) this.#lose(trouble);
    };
    if (this.#wire.flushed) over();
    else setImmediate(over);
  }

  /** Hands over as many replies as are due; anything else that has come is out of turn. */
  #hear(): void {
    while (this.#job !== null) {
      const heard = this.#replies.next();
      if (heard === null) return;
      if (heard.kind === "reply") this.#take(this.#job, heard.reply);
      else if (heard.kind === "stray") this.#outOfTurn();
      else if (heard.kind === "soon") setImmediate(this.#recheck);
      else this.#lose(NO_REPLY);
    }
    if (this.#replies.empty || !this.#open) return;
    // Between two messages only 421 makes sense; whatever it is, this connection is of no use now.
    this.#replies.stray();
    this.destroy();
  }

  #take(job: Job, reply: Reply): void {
    this.#heard = true;
    this.#concluded = false;
    this.#patience.restart();
    this.#patience.greeted();
    const passed = this.#turns.passed(reply);
    if (passed === "none") this.#perform(job.conversation.reply(reply, this.#ended));
    else if (passed === "lose") this.#lose(unexpected(reply));
    else if (passed === "close" || passed === "forgo") {
      job.conversation.forgo?.();
      this.#finish(passed === "close");
      if (this.#job !== null) this.#take(this.#job, reply);
    } else if (passed !== "wait") this.#perform(passed);
  }

  #begin(job: Job, said: boolean): void {
    this.#job = job;
    this.#ended = false;
    const { conversation, how } = job;
    this.#patience.limit(how.budgetMs, () => this.#lose(connectionTrouble(how.overdue)));
    this.#perform(said ? (conversation.opened?.() ?? listen) : conversation.start());
  }

  #wait(job: Job): void {
    this.#turns.wait(job);
    if (!this.#concluded || this.#spoilt || !this.#wire.flushed) return;
    const lines = this.#turns.opening(0);
    if (lines.length === 0) return;
    this.#replies.expectAlso(lines.length);
    this.#wire.write([this.#commands(lines)]);
  }

  readonly #recheck = (): void => {
    if (this.#job === null) return;
    if (this.#wire.flushed) this.#hear();
    else this.#outOfTurn();
  };

  #outOfTurn(): void {
    const early = this.#replies.stray();
    this.#lose(early === null ? NO_REPLY : unexpected(early));
  }

  #perform(step: Step): void {
    switch (step.kind) {
      case "say":
        if (this.#turns.busy) this.#turns.passOver(step);
        else this.#say(step.lines);
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
    if (!this.#replies.empty) this.#outOfTurn();
    else this.#write([this.#commands(lines)], lines.length);
  }

  #commands(lines: readonly Line[]): Buffer {
    let text = "";
    for (const line of lines) {
      this.#transcript.line("tx", line.shown);
      text += `${line.text}\r\n`;
    }
    return Buffer.from(text);
  }

  #listen(step: Extract<Step, { kind: "listen" }>): void {
    this.#replies.expectMore();
    if (step.forMs <= 0) {
      this.#patience.restart();
      return;
    }
    this.#patience.prompt(step.forMs, () => {
      // One that has begun is waited for like any other reply.
      if (!this.#replies.empty) this.#patience.restart();
      else if (this.#job !== null) this.#perform(step.instead());
    });
  }

  #finish(close: boolean): void {
    const job = this.#letGo();
    if (close || this.#spoilt) {
      this.destroy();
    } else {
      const next = this.#turns.next();
      if (next?.said !== true) this.#replies.expect(0);
      if (next !== null) this.#begin(next.job, next.said);
    }
    job?.over("over");
  }

  #lose(trouble: Trouble): void {
    const job = this.#letGo();
    job?.conversation.lost(trouble, this.#ended && !this.#wire.withheld);
    job?.over("over");
    this.destroy();
  }

  #fail(error: unknown): void {
    const job = this.#letGo();
    job?.failed(error);
    this.destroy();
  }

  #letGo(): Job | null {
    const job = this.#job;
    this.#job = null;
    this.#patience.unlimited();
    job?.upload?.stop();
    return job;
  }

  #upload(content: Content | undefined): Upload | null {
    if (content === undefined) return null;
    const write = async (pieces: readonly Uint8Array[]): Promise<void> => {
      this.#patience.restart();
      await this.#wire.writeAll(pieces);
      if (this.#open) this.#patience.restart();
    };
    return new Upload({ content, transcript: this.#transcript, buffers: this.#buffers, write });
  }

  #sendContent(framing: "dot" | "chunk"): void {
    const job = this.#job;
    if (!this.#replies.empty || job === null || job.upload === null) {
      this.#outOfTurn();
      return;
    }
    this.#sending = true;
    this.#replies.expect(0);
    job.upload.begin(framing, this.#conclude, (error) => {
      if (this.#job === job) this.#fail(error);
    });
  }

  readonly #conclude = ({ pieces, ended }: LastWords): void => {
    this.#sending = false;
    this.#ended = ended;
    this.#concluded = ended;
    const lines = ended && !this.#spoilt ? this.#turns.opening(sizeOf(pieces)) : [];
    if (lines.length > 0) this.#write([...pieces, this.#commands(lines)], 1 + lines.length, "all");
    else this.#write(pieces, 1);
    if (lines.length === 0 && ended) this.#wire.watch();
  };

  /** All of it in one go, and so many replies will come. */
  #write(pieces: readonly Uint8Array[], replies: number, guarded: "last" | "all" = "last"): void {
    this.#replies.expect(replies, guarded);
    this.#patience.restart();
    this.#wire.write(pieces);
  }
}
