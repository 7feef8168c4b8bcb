/**
 * What is said in a session: takes its input line by line, and does what the protocol asks for. One thing
 * at a time: while the verifier or the store works, the client waits, and nothing it sends is kept without limit.
 */
import { assertNever } from "../core/assert-never.ts";
import type { SaslVerdict } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import type { Peer } from "../core/events.ts";
import type { Reception } from "../core/intake.ts";
import type { Reply } from "../core/reply.ts";
import type { RecipientQuery, SessionVerifier, Verification } from "../core/verifier.ts";
import type { Encryption } from "../io/server-tls.ts";
import { ContentDesk } from "./content-desk.ts";
import { LazyVerifier } from "./lazy-verifier.ts";
import { LineReader } from "./line.ts";
import type { Patience } from "./patience.ts";
import { MAX_LINE_BYTES, ServerProtocol, type ServerRules } from "./server-protocol.ts";
import { replyText, type ServerStep } from "./server-reply.ts";
import type { Transcript } from "./transcript.ts";
import type { Wire } from "./wire.ts";

/** What a dialogue needs of its listener. */
export interface DialogueHouse {
  readonly rules: ServerRules;
  /** Called at a session's first question; disposed of with the session. */
  readonly openVerifier: () => SessionVerifier;
  readonly clock: Clock;
  /** Aborted when everything ends at once. */
  readonly signal: AbortSignal;
}

/** The session's part: what a dialogue cannot do on its own. */
export interface DialogueOptions {
  readonly house: DialogueHouse;
  readonly peer: Peer;
  readonly reception: Reception;
  readonly wire: Wire;
  readonly patience: Patience;
  readonly transcript: Transcript;
  /** Shakes hands; `secured()` follows. */
  readonly upgrade: () => void;
  /** Says a last word, if it is not "", and ends the session. */
  readonly end: (reply: string, why: string) => void;
  /** As `end`, after QUIT: nothing more is to come. */
  readonly quit: (reply: string) => void;
  /** Ends the session at once. */
  readonly destroy: () => void;
}

/** Unread input of a client that has to wait. */
const INPUT_BYTES = 65536;

const GOODBYE = "421 service not available";
export const SHUTTING_DOWN = "shutting down";
export const PROTOCOL_DONE = "smtp protocol done";

export class ServerDialogue {
  readonly #options: DialogueOptions;
  readonly #protocol: ServerProtocol;
  readonly #desk: ContentDesk;
  readonly #verifier: LazyVerifier;
  readonly #input = new LineReader(MAX_LINE_BYTES);
  /** The verifier, the store, a handshake or a delay is at work: the client's next line waits. */
  #busy = false;
  /** There is no room for more content at the moment. */
  #full = false;
  /** The client has closed its sending side. */
  #ended = false;
  /** Octets to throw away, then this step. */
  #skip: { left: number; readonly next: ServerStep } | null = null;
  #draining = false;
  #over = false;

  constructor(options: DialogueOptions) {
    this.#options = options;
    const { house, peer, reception, transcript } = options;
    this.#protocol = new ServerProtocol(house.rules, peer);
    this.#verifier = new LazyVerifier(house.openVerifier, house.rules.journal);
    this.#desk = new ContentDesk({
      house,
      peer,
      transcript,
      protocol: this.#protocol,
      reception,
      whenRoom: () => this.#roomAgain(),
      whenAnswered: (reply) => this.#contentAnswered(reply),
    });
  }

  /** True while the client waits for us, and its silence is not its own: for an answer, or for the store to make room. */
  get busy(): boolean {
    return this.#busy || this.#full;
  }

  get encrypted(): boolean {
    return this.#protocol.encryption !== null;
  }

  greet(): void {
    const { wire } = this.#options;
    wire.say(this.#protocol.greeting());
    wire.flush();
  }

  hear(chunk: Buffer): void {
    this.#input.push(chunk);
    if (this.#waiting) this.#pauseIfFull();
    else this.#pump();
  }

  /** The client has closed its sending side. */
  endOfInput(): void {
    this.#ended = true;
    if (!this.#waiting) this.#pump();
  }

  /** Goes on after waiting. */
  goOn(): void {
    if (this.#over || this.#waiting) return;
    this.#pump();
    if (!this.#waiting && !this.#over) this.#options.wire.resume();
  }

  /** A handshake begins: what came before it, half a command included, is not used after it (RFC 3207 4.2). */
  forget(): void {
    this.#busy = true;
    this.#input.clear();
  }

  /** The handshake is done; with implicit TLS the greeting comes now. */
  secured(encryption: Encryption, then: "greet" | "go on"): void {
    this.#protocol.secured(encryption);
    if (then === "greet") this.#options.wire.say(this.#protocol.greeting());
    this.#stopWaiting();
  }

  /** Ends the session as soon as no message is in hand. */
  drain(): void {
    this.#draining = true;
    if (!this.#busy && !this.#desk.receiving) this.#leave();
  }

  /** The session is over. A message that came completely is still finished. */
  close(): void {
    this.#over = true;
    this.#input.clear();
    this.#desk.close();
    void this.#verifier.close();
  }

  #leave(): void {
    this.#options.end(GOODBYE, SHUTTING_DOWN);
  }

  get #waiting(): boolean {
    return this.#busy || this.#options.wire.blocked || this.#full;
  }

  #pauseIfFull(): void {
    if (this.#full || this.#input.pending >= INPUT_BYTES) this.#options.wire.pause();
  }

  #noRoom(): void {
    this.#full = true;
    this.#pauseIfFull();
  }

  #roomAgain(): void {
    const { patience, house } = this.#options;
    this.#full = false;
    patience.heard(house.clock.monotonic());
    this.goOn();
  }

  /** Takes what can be taken of the input, then writes all the replies at once. */
  #pump(): void {
    const { wire, patience, end } = this.#options;
    let more = true;
    while (more && !this.#over && !this.#waiting) more = this.#advance();
    if (this.#over) return;
    const { receiving, open } = this.#desk;
    patience.note(this.#input.partial || this.#skip !== null, receiving || open);
    if (this.#busy) return;
    wire.flush();
    if (this.#draining && !receiving) this.#leave();
    else if (this.#ended && !this.#waiting) end("", "peer disconnected");
  }

  /** One step on; false when more input is needed. */
  #advance(): boolean {
    if (this.#desk.receiving) return this.#content();
    if (this.#skip !== null) return this.#skipOctets(this.#skip);
    const line = this.#input.line();
    if (line === null) return false;
    this.#options.patience.lineDone();
    if (line === "too long") {
      this.#do(this.#protocol.lineTooLong());
    } else {
      const { transcript } = this.#options;
      if (transcript.wanted) transcript.line("rx", this.#protocol.describe(line));
      this.#do(this.#protocol.command(line));
    }
    const { open, receiving } = this.#desk;
    if (open && !receiving && !this.#protocol.betweenChunks) this.#abandon();
    return true;
  }

  #do(step: ServerStep): void {
    const { wire, end } = this.#options;
    switch (step.kind) {
      case "reply":
        wire.say(step.reply);
        break;
      case "late reply":
        this.#wait(this.#sayLater(step.reply, step.delayMs));
        break;
      case "close":
        end(step.reply, step.why);
        break;
      case "quit":
        this.#quit(step.reply);
        break;
      case "verify":
        this.#verify(step.query);
        break;
      case "judge":
        this.#busy = true;
        void step.verdict.then((verdict) => this.#judged(verdict));
        break;
      case "data":
        wire.say(step.reply);
        this.#desk.beginData();
        break;
      case "chunk":
        this.#desk.beginChunk(step.size, step.last);
        break;
      case "skip":
        this.#skip = { left: step.size, next: step.next };
        break;
      case "start tls":
        this.#startTls(step.reply);
        break;
      default:
        assertNever(step);
    }
  }

  #content(): boolean {
    const taken = this.#desk.take(this.#input);
    switch (taken.kind) {
      case "more":
        return false;
      case "full":
        this.#noRoom();
        return false;
      case "chunk":
        this.#do(this.#protocol.chunkDone(taken.size, taken.tooBig));
        if (!this.#protocol.betweenChunks) this.#abandon();
        else if (!taken.room) this.#noRoom();
        return true;
      case "end":
        // The store may take its time; what was answered before need not wait for it.
        this.#options.wire.flush();
        this.#busy = true;
        this.#desk.finish();
        return false;
    }
  }

  #skipOctets(skip: { left: number; readonly next: ServerStep }): boolean {
    const count = Math.min(skip.left, this.#input.pending);
    this.#input.advance(count);
    skip.left -= count;
    if (skip.left > 0) return false;
    this.#skip = null;
    this.#do(skip.next);
    return true;
  }

  #abandon(): void {
    this.#desk.abandon();
    this.#options.patience.messageDone();
  }

  #contentAnswered(reply: Reply): void {
    this.#protocol.contentDone();
    this.#options.patience.messageDone();
    if (this.#over) return;
    this.#options.wire.say(replyText(reply));
    this.#stopWaiting();
  }

  /** A client that goes on after QUIT is heard out, as one that is thrown out. */
  #quit(reply: string): void {
    const { quit, end } = this.#options;
    if (this.#input.pending === 0) quit(reply);
    else end(reply, PROTOCOL_DONE);
  }

  #verify(query: RecipientQuery): void {
    const answer = this.#verifier.ask(query);
    if (answer instanceof Promise) this.#wait(answer.then((later) => this.#verified(later)));
    else this.#verified(answer);
  }

  #verified(answer: Verification): void {
    if (!this.#over) this.#do(this.#protocol.verified(answer));
  }

  /** The reply may have to wait in its turn. */
  #judged(verdict: SaslVerdict): void {
    if (this.#over) return;
    this.#busy = false;
    this.#do(this.#protocol.judged(verdict));
    if (!this.#busy) this.#stopWaiting();
  }

  async #sayLater(text: string, delayMs: number): Promise<void> {
    const { clock, signal } = this.#options.house;
    await clock.sleep(delayMs, signal);
    if (!this.#over) this.#options.wire.say(text);
  }

  /** The client waits for this work; only the end of everything interrupts it. */
  #wait(work: Promise<void>): void {
    this.#busy = true;
    work.then(() => this.#stopWaiting(), this.#options.destroy);
  }

  #stopWaiting(): void {
    const { patience, house } = this.#options;
    this.#busy = false;
    patience.heard(house.clock.monotonic());
    this.goOn();
  }

  #startTls(reply: string): void {
    const { wire, upgrade, patience, house } = this.#options;
    this.#busy = true;
    // A client that never reads the reply would be waited for without end.
    patience.handshakeBegun(house.clock.monotonic());
    wire.say(reply);
    wire.flushThen(upgrade);
  }
}
