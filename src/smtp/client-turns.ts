/**
 * The conversations on one connection in their turn: one is held, others wait behind it. While the
 * content of a message waits for its answer, the next one's first commands may have been said
 * already (RFC 2920 3.1).
 */
import type { Journal, Peer } from "../core/events.ts";
import type { Reply } from "../core/reply.ts";
import type { Content } from "../core/store.ts";
import {
  type Conversation,
  connectionTrouble,
  isCompletion,
  type Line,
  type Step,
} from "./client-protocol.ts";
import type { Upload } from "./client-upload.ts";

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
  /** The same for all that are held at a time. */
  readonly signal: AbortSignal;
}

/** "withdrawn": it had to wait too long, and the peer has taken no notice of it. */
export type Held = "over" | "withdrawn";

export interface Job {
  readonly conversation: Conversation;
  readonly how: Hold;
  readonly upload: Upload | null;
  readonly over: (held: Held) => void;
  readonly failed: (error: unknown) => void;
}

/**
 * What becomes of the present conversation with a reply that has come while others are to be passed over. "none": none
 * are. "wait": there are more. "forgo": it is over, and the reply is the next one's. "close": it is over, and so is
 * the connection, which is of no use. "lose": the peer has said goodbye. A step: all have come.
 */
export type Passed = "none" | "wait" | "forgo" | "close" | "lose" | Step;

/** Content and commands up to this size go out together: the kernel takes as much at once. */
const TOGETHER_BYTES = 16_384;

export class Turns {
  #waiting: Job[] = [];
  /** Replies that are due to what the next one has said already. */
  #said = 0;
  /** Replies that are to be passed over before that is said, and who has said what they answer. */
  #passing: {
    left: number;
    readonly all: number;
    readonly by: Job | undefined;
    readonly before: Step;
  } | null = null;

  wait(job: Job): void {
    this.#waiting.push(job);
  }

  /** True while something is said, or to be passed over, that is not the present conversation's. */
  get busy(): boolean {
    return this.#said > 0 || this.#passing !== null;
  }

  /** What the next one may say now, in the same write as so many bytes; it counts as said. */
  opening(bytes: number): readonly Line[] {
    if (this.busy) return [];
    const lines = this.#waiting[0]?.conversation.opening?.() ?? [];
    let size = bytes;
    for (const { text } of lines) size += text.length + 2;
    if (size > TOGETHER_BYTES) return [];
    this.#said = lines.length;
    return lines;
  }

  /** The next one's turn; `said` is true if its first commands are on their way. */
  next(): { readonly job: Job; readonly said: boolean } | null {
    const job = this.#waiting.shift();
    const said = this.#said > 0;
    this.#said = 0;
    return job === undefined ? null : { job, said };
  }

  /** The present conversation has more to say: what the next one has said is answered before, and was said in vain. */
  passOver(before: Step): void {
    this.#passing = { left: this.#said, all: this.#said, by: this.#waiting[0], before };
    this.#said = 0;
  }

  passed(reply: Reply): Passed {
    const passing = this.#passing;
    if (passing === null) return "none";
    if (reply.code === 421) return "lose";
    // Whatever is said now would be taken for content.
    if (reply.code === 354) return "close";
    // Withdrawn, it is not the next one any more, even if it waits again.
    const isNext = passing.by !== undefined && this.#waiting[0] === passing.by;
    // With the next one's MAIL the host has let go of what it has refused (RFC 5321 4.1.1.2).
    if (isNext && passing.left === passing.all && isCompletion(reply)) {
      this.#passing = null;
      this.#said = passing.all;
      return "forgo";
    }
    passing.left -= 1;
    if (passing.left > 0) return "wait";
    this.#passing = null;
    return passing.before;
  }

  /** Those that wait are given back; true if one had said something. */
  withdraw(): boolean {
    const said = this.#said > 0;
    this.#said = 0;
    for (const job of this.#take()) job.over("withdrawn");
    return said;
  }

  /** The connection is gone. Nobody has taken notice of those that wait, or it was what one has said. */
  lose(): void {
    if (this.#said > 0) this.#waiting[0]?.conversation.opened?.();
    this.#said = 0;
    for (const job of this.#take()) {
      job.conversation.lost(connectionTrouble("peer disconnected"), false);
      job.over("over");
    }
  }

  fail(error: unknown): void {
    for (const job of this.#take()) job.failed(error);
  }

  #take(): readonly Job[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { upload } of waiting) upload?.stop();
    return waiting;
  }
}
