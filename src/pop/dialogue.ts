/**
 * What is said in a session: takes its input line by line, and does what the protocol asks for. One thing at
 * a time: while something is read, sent or removed the client's next line waits, and little of it is kept.
 */
import { assertNever } from "../core/assert-never.ts";
import type { SaslVerdict } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import { describeError } from "../core/errors.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { MessageId } from "../core/message-id.ts";
import type { DiskFile } from "../io/disk.ts";
import { ContentEncoder } from "./content-encoder.ts";
import { CommandLines } from "./line.ts";
import { type Maildrop, type MailMessage, openMaildrop } from "./maildrop.ts";
import type { Patience } from "./patience.ts";
import { MAX_LINE_BYTES, PopProtocol, type PopRules } from "./protocol.ts";
import { ERROR, type PopStep } from "./step.ts";
import { sendContent, sendLines } from "./transfer.ts";
import type { Wire } from "./wire.ts";

/** What a dialogue needs of its server. */
export interface DialogueHouse {
  readonly rules: PopRules;
  readonly spool: string;
  /** False for --no-sync. */
  readonly sync: boolean;
  readonly byName: boolean;
  /** Called before a message is removed from the spool directory itself, and when that has failed. */
  readonly noteRemoval?: (id: MessageId, kind: "removed" | "kept") => void;
  readonly journal: Journal;
  readonly clock: Clock;
  /** Aborted when everything ends at once. */
  readonly signal: AbortSignal;
}

/** The session's part: what a dialogue cannot do on its own. */
export interface DialogueOptions {
  readonly house: DialogueHouse;
  readonly peer: Peer;
  readonly wire: Wire;
  readonly patience: Patience;
  /** Shakes hands; `secured()` follows. */
  readonly upgrade: () => void;
  /** Sends what has been said, and ends the session. */
  readonly end: (why: string) => void;
  /** Ends the session without a word. */
  readonly cut: (why: string) => void;
}

export const SHUTTING_DOWN = "shutting down";
export const DISCONNECTED = "peer disconnected";

export class PopDialogue {
  readonly #options: DialogueOptions;
  readonly #protocol: PopProtocol;
  readonly #input = new CommandLines(MAX_LINE_BYTES);
  #maildrop: Maildrop | null = null;
  #work: "none" | "working" | "sending" = "none";
  /** The client has closed its sending side. */
  #ended = false;
  #draining = false;
  #over = false;

  constructor(options: DialogueOptions) {
    this.#options = options;
    this.#protocol = new PopProtocol(options.house.rules, options.peer);
  }

  /** What the client's next line waits for. Only "sending" depends on the client. */
  get work(): "none" | "working" | "sending" {
    return this.#work;
  }

  get encrypted(): boolean {
    return this.#protocol.secure;
  }

  get loggedIn(): boolean {
    return this.#protocol.loggedIn;
  }

  greet(): void {
    this.#say(this.#protocol.greeting());
    this.#options.wire.flush();
  }

  hear(chunk: Buffer): void {
    this.#input.push(chunk);
    if (this.#waiting) this.#options.wire.pause();
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
    if (!this.#over && !this.#waiting) this.#options.wire.resume();
  }

  /** A handshake begins: what came before it, half a command included, is not used after it (RFC 2595 2.1). */
  forget(): void {
    this.#work = "working";
    this.#input.clear();
  }

  /**
   * The handshake is done; with implicit TLS the greeting comes now. After STLS nothing more is said
   * (RFC 2595 4): the next reply belongs to the next command.
   */
  secured(then: "greet" | "go on"): void {
    this.#protocol.secured();
    if (then === "greet") this.#say(this.#protocol.greeting());
    this.#stopWaiting();
  }

  /** Ends the session as soon as the command in hand is done. */
  drain(): void {
    this.#draining = true;
    if (this.#work === "none") this.#options.end(SHUTTING_DOWN);
  }

  /** The session is over. */
  close(): void {
    this.#over = true;
    this.#input.clear();
  }

  get #waiting(): boolean {
    return this.#work !== "none" || this.#options.wire.blocked;
  }

  /** Takes what can be taken of the input, then writes all the replies at once. */
  #pump(): void {
    const { wire, patience, end } = this.#options;
    while (!this.#over && !this.#waiting && this.#advance());
    if (this.#over || this.#work !== "none") return;
    patience.note(this.#input.partial);
    wire.flush();
    if (this.#draining) end(SHUTTING_DOWN);
    else if (this.#ended && !this.#waiting) end(DISCONNECTED);
  }

  /** One step on; false when more input is needed. */
  #advance(): boolean {
    const { patience, house } = this.#options;
    const line = this.#input.next();
    if (line === null) return false;
    patience.commandDone();
    if (line === "too long") {
      this.#do(this.#protocol.lineTooLong());
      return true;
    }
    if (house.journal.detail) this.#trace("rx", this.#protocol.describe(line));
    this.#do(this.#protocol.command(line));
    return true;
  }

  #do(step: PopStep): void {
    switch (step.kind) {
      case "reply":
        this.#say(step.text);
        break;
      case "list":
        this.#during("sending", this.#list(step.text, step.lines));
        break;
      case "late reply":
        this.#during("working", this.#sayLater(step.text, step.delayMs));
        break;
      case "close":
        if (step.text !== "") this.#say(step.text);
        this.#options.end(step.why);
        break;
      case "judge":
        this.#work = "working";
        void step.verdict.then((verdict) => this.#judged(verdict));
        break;
      case "log in":
        this.#during("working", this.#logIn(step.id));
        break;
      case "send":
        this.#during("sending", this.#send(step.message, step.bodyLines));
        break;
      case "remove":
        this.#during("working", this.#remove(step.messages));
        break;
      case "start tls":
        this.#startTls(step.text);
        break;
      default:
        assertNever(step);
    }
  }

  /** The client's next line waits for this. Whatever goes wrong in a way that nobody foresaw ends the session. */
  #during(work: "working" | "sending", task: Promise<void>): void {
    const { house, cut } = this.#options;
    this.#work = work;
    task.then(
      () => this.#stopWaiting(),
      (error: unknown) => {
        if (!house.signal.aborted) this.#warn(describeError(error));
        cut("internal error");
      },
    );
  }

  #stopWaiting(): void {
    const { patience, house } = this.#options;
    this.#work = "none";
    patience.heard(house.clock.monotonic());
    this.goOn();
  }

  async #list(text: string, lines: Iterable<string>): Promise<void> {
    this.#say(text);
    await sendLines(this.#options.wire, lines);
  }

  async #sayLater(text: string, delayMs: number): Promise<void> {
    const { wire, house } = this.#options;
    wire.flush();
    await house.clock.sleep(delayMs, house.signal);
    if (!this.#over) this.#say(text);
  }

  /** What follows may have to wait in its turn. */
  #judged(verdict: SaslVerdict): void {
    if (this.#over) return;
    this.#work = "none";
    this.#do(this.#protocol.judged(verdict));
    if (this.#work === "none") this.#stopWaiting();
  }

  async #logIn(id: string): Promise<void> {
    try {
      this.#maildrop = await openMaildrop(this.#options.house, id);
    } catch (error) {
      this.#warn(describeError(error));
    }
    if (!this.#over) this.#do(this.#protocol.opened(this.#maildrop?.messages ?? null));
  }

  async #send(message: MailMessage, bodyLines: number): Promise<void> {
    const { wire, house } = this.#options;
    let file: DiskFile | null = null;
    try {
      file = this.#maildrop?.open(message) ?? null;
    } catch (error) {
      this.#warn(`cannot open content [${message.id}.content]: ${describeError(error)}`);
    }
    if (file === null) {
      this.#say(`${ERROR} message not available`);
      return;
    }
    try {
      const { size } = file.facts();
      this.#say(bodyLines === Number.POSITIVE_INFINITY ? `+OK ${size} octets` : "+OK");
      if (house.journal.detail) this.#trace("tx", "[message content not logged]");
      await sendContent(wire, { file, size }, new ContentEncoder(bodyLines));
    } finally {
      file.close();
    }
  }

  async #remove(messages: readonly MailMessage[]): Promise<void> {
    let complete = false;
    try {
      complete = (await this.#maildrop?.remove(messages)) === true;
    } catch (error) {
      this.#warn(`cannot remove messages: ${describeError(error)}`);
    }
    if (!this.#over) this.#do(this.#protocol.removed(complete));
  }

  #startTls(text: string): void {
    const { wire, upgrade, patience, house } = this.#options;
    this.#work = "working";
    this.#say(text);
    // A client that does not read the answer keeps us waiting as one that does not shake hands.
    patience.handshakeBegun(house.clock.monotonic());
    wire.flushThen(upgrade);
  }

  #say(text: string): void {
    const { wire, house } = this.#options;
    if (house.journal.detail) this.#trace("tx", text);
    wire.say(`${text}\r\n`);
  }

  #trace(direction: "rx" | "tx", text: string): void {
    const { house, peer } = this.#options;
    house.journal.tell({ kind: "traffic", direction, peer, text });
  }

  #warn(text: string): void {
    this.#options.house.journal.tell({ kind: "note", level: "warning", detail: false, text });
  }
}
