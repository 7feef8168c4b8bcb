/** A smarthost's replies in their turn: one for each line that was said, none before the last of our bytes has left. */
import type { Reply } from "../core/reply.ts";
import { type Heard, ReplyParser } from "./reply-parser.ts";
import type { Transcript } from "./transcript.ts";

export type Turn =
  | Heard
  /** Something came that answers nothing. */
  | { readonly kind: "stray" }
  /** Look again at the next turn of the event loop, and only once. */
  | { readonly kind: "soon" };

const STRAY: Turn = { kind: "stray" };
const SOON: Turn = { kind: "soon" };

export class Replies {
  readonly #parser = new ReplyParser();
  readonly #transcript: Transcript;
  readonly #flushed: () => boolean;
  #due = 0;
  /** When so many are due, the next one may come only after all of our bytes have left. */
  #guarded = 1;
  #rechecked = false;

  /** `flushed` is true once the kernel has taken all that was written. */
  constructor(transcript: Transcript, flushed: () => boolean) {
    this.#transcript = transcript;
    this.#flushed = flushed;
  }

  push(chunk: Buffer): void {
    this.#parser.push(chunk);
  }

  /** True if not a byte has come that was not part of a reply already taken. */
  get empty(): boolean {
    return this.#parser.empty;
  }

  /** What is being written now gets so many replies, the last of them, or all if `guarded`, when all of it has left. */
  expect(count: number, guarded: "last" | "all" = "last"): void {
    this.#due = count;
    this.#guarded = guarded === "all" ? count : 1;
    this.#rechecked = false;
  }

  /** What is being written now gets so many replies after those that are due. */
  expectAlso(count: number): void {
    this.#due += count;
    this.#guarded = 1;
    this.#rechecked = false;
  }

  /** A reply, or another one, is waited for though nothing was said. */
  expectMore(): void {
    if (this.#due === 0) this.#due = 1;
  }

  /**
   * null when more bytes are needed. A reply before the last of our bytes has left cannot be an answer
   * to it. The news that they have left may come one turn of the event loop later than the reply
   * (TLS), hence "soon".
   */
  next(): Turn | null {
    if (this.#parser.empty) return null;
    if (this.#due === 0) return STRAY;
    if (this.#due <= this.#guarded && !this.#flushed()) {
      if (this.#rechecked) return null;
      this.#rechecked = true;
      return SOON;
    }
    const heard = this.#read();
    if (heard?.kind === "reply") {
      this.#due -= 1;
      this.#rechecked = false;
    }
    return heard;
  }

  /** The reply that came out of turn; null if it is none, or not complete. */
  stray(): Reply | null {
    const heard = this.#read();
    return heard?.kind === "reply" ? heard.reply : null;
  }

  #read(): Heard | null {
    const heard = this.#parser.next();
    if (heard?.kind === "reply") this.#transcript.reply(heard.reply);
    if (heard?.kind === "invalid") this.#transcript.line("rx", heard.line);
    return heard;
  }
}
