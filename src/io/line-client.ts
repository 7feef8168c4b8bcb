/**
 * Asks a service one line and hears one line, over a connection that is kept for the next question.
 * Questions and answers never get out of step: a connection that was late, said too much or broke
 * off is never used again.
 */
import type { Socket } from "node:net";
import { setImmediate as immediate } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";
import type { Endpoint } from "../core/endpoint.ts";
import { type Connected, connect } from "./connect.ts";
import { shownPeer } from "./service-address.ts";
import { noResponse, TimeLimit } from "./time-limit.ts";

/** Longest answer, in bytes with its line end. */
const MAX_LINE = 8192;
const LF = 0x0a;

export interface LineTerms {
  /** Milliseconds for connecting and answering together; 0 for no limit. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

export type Answer =
  /** Without its line end (LF or CR LF), decoded as UTF-8. */
  | { readonly kind: "line"; readonly line: string }
  /** In E-MailRelay's words. */
  | { readonly kind: "failed"; readonly why: string };

export class LineClient implements AsyncDisposable {
  readonly #endpoint: Endpoint;
  readonly #terms: LineTerms;
  #kept: Line | null = null;
  #connecting: AbortController | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #disposed = false;

  /** Connects with the first question. */
  constructor(endpoint: Endpoint, terms: LineTerms) {
    this.#endpoint = endpoint;
    this.#terms = terms;
  }

  /**
   * Sends `question` and LF. One question at a time is on its way; others wait for it. Rejects with
   * the signal's reason when it is aborted, and only then.
   */
  ask(question: string, signal: AbortSignal): Promise<Answer> {
    const answer = this.#last.then(async () => await this.#askNow(question, signal));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#connecting?.abort();
    this.#kept?.destroy();
    this.#kept = null;
    await this.#last;
  }

  async #askNow(question: string, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    const limit = new TimeLimit(this.#terms.timeoutMs, this.#terms.clock);
    if (/[\r\n]/.test(question)) return { kind: "failed", why: "request of more than one line" };
    const kept = this.#kept;
    // Two turns of the event loop, so that whatever the peer has sent or closed meanwhile is seen.
    if (kept !== null) await immediate().then(() => immediate());
    if (kept?.usable === true) {
      const answer = await kept.ask(question, limit, signal);
      // The peer had closed it before it saw the question: that is no answer to this one.
      if (answer !== "unheard") return answer;
    }
    return await this.#askAnew(question, limit, signal);
  }

  async #askAnew(question: string, limit: TimeLimit, signal: AbortSignal): Promise<Answer> {
    if (this.#disposed) return GONE;
    const made = await this.#connect(limit, signal);
    if (made.kind === "failed") return made;
    const line = new Line(made.socket, shownPeer(this.#endpoint, made.peer));
    if (this.#disposed) line.destroy();
    this.#kept = line;
    const answer = await line.ask(question, limit, signal);
    return answer === "unheard" ? GONE : answer;
  }

  async #connect(limit: TimeLimit, signal: AbortSignal): Promise<Connected> {
    signal.throwIfAborted();
    const stop = new AbortController();
    const abort = (): void => stop.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#connecting = stop;
    try {
      const terms = { interface: null, timeoutMs: limit.left(), clock: this.#terms.clock };
      return await connect(this.#endpoint, { ...terms, signal: stop.signal });
    } catch {
      signal.throwIfAborted();
      return GONE;
    } finally {
      this.#connecting = null;
      signal.removeEventListener("abort", abort);
    }
  }
}

const GONE: Extract<Answer, { kind: "failed" }> = { kind: "failed", why: "peer disconnected" };

type Heard = Answer | "unheard";

/** One connection. */
class Line {
  readonly #socket: Socket;
  readonly #address: string;
  #heard: Buffer[] = [];
  #bytes = 0;
  /** Takes the answer; null while nothing is asked. */
  #settle: ((answer: Heard) => void) | null = null;
  #closed = false;

  constructor(socket: Socket, address: string) {
    this.#socket = socket;
    this.#address = address;
    const ended = (): void => this.#end(this.#bytes === 0 ? "unheard" : GONE);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("end", ended).on("close", ended);
  }

  get usable(): boolean {
    return !this.#closed;
  }

  destroy(): void {
    this.#end(GONE);
  }

  async ask(question: string, limit: TimeLimit, signal: AbortSignal): Promise<Heard> {
    using _watch = limit.watch(signal, () =>
      this.#end({ kind: "failed", why: noResponse(limit, this.#address) }),
    );
    const answer = await new Promise<Heard>((resolve) => {
      if (this.#closed) return resolve("unheard");
      this.#settle = resolve;
      this.#socket.write(`${question}\n`);
    });
    signal.throwIfAborted();
    return answer;
  }

  /** What comes without a question, or after the answer, belongs to no question of ours. */
  #take(chunk: Buffer): void {
    if (this.#settle === null) this.#end(GONE);
    else this.#hear(chunk);
  }

  #hear(chunk: Buffer): void {
    const end = chunk.indexOf(LF);
    const part = end < 0 ? chunk : chunk.subarray(0, end + 1);
    this.#heard.push(part);
    this.#bytes += part.length;
    if (this.#bytes > MAX_LINE) {
      this.#end({ kind: "failed", why: `response too long from ${this.#address}` });
    } else if (end >= 0) {
      const line = Buffer.concat(this.#heard)
        .toString("utf8")
        .replace(/\r?\n$/, "");
      if (part.length < chunk.length) this.#end({ kind: "line", line });
      else this.#answer({ kind: "line", line });
    }
  }

  #end(answer: Heard): void {
    this.#closed = true;
    this.#socket.destroy();
    this.#answer(answer);
  }

  #answer(answer: Heard): void {
    const settle = this.#settle;
    this.#settle = null;
    this.#heard = [];
    this.#bytes = 0;
    settle?.(answer);
  }
}
