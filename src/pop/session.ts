/**
 * One client's connection: feeds its lines to the protocol and does what that asks. One thing at a time:
 * while something is read, sent or removed the client's next line waits, and little of it is kept.
 */
import type { Socket } from "node:net";
import { assertNever } from "../core/assert-never.ts";
import type { SaslVerdict } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import { describeError } from "../core/errors.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { Connection } from "../io/acceptor.ts";
import type { DiskFile } from "../io/disk.ts";
import { localEnd } from "../io/local-end.ts";
import { type Secured, type ServerKeys, secure } from "../io/server-tls.ts";
import { ContentEncoder } from "./content-encoder.ts";
import { CommandLines } from "./line.ts";
import { type Maildrop, type MailMessage, openMaildrop } from "./maildrop.ts";
import { Patience } from "./patience.ts";
import { MAX_LINE_BYTES, PopProtocol, type PopRules } from "./protocol.ts";
import { ERROR, type PopStep } from "./step.ts";
import { sendContent, sendLines } from "./transfer.ts";
import { Wire } from "./wire.ts";

/** What a session needs of its server. */
export interface PopHouse {
  readonly rules: PopRules;
  readonly spool: string;
  /** False for --no-sync. */
  readonly sync: boolean;
  readonly byName: boolean;
  readonly idleTimeoutMs: number;
  readonly journal: Journal;
  readonly clock: Clock;
  /** null: no TLS. */
  readonly keys: ServerKeys | null;
  /** The handshake comes before the greeting. */
  readonly implicitTls: boolean;
  /** Aborted when everything ends at once. */
  readonly signal: AbortSignal;
}

const SHUTTING_DOWN = "shutting down";
/** How long our last words have to arrive at a client that does not close its side, when the program ends. */
const PARTING_MS = 500;
const DISCONNECTED = "peer disconnected";

export interface PopSessionOptions {
  readonly house: PopHouse;
  readonly socket: Socket;
  readonly peer: Peer;
  /** Called once, when the connection is gone. */
  readonly whenGone: () => void;
}

export class PopSession implements Connection {
  readonly #house: PopHouse;
  readonly #peer: Peer;
  readonly #protocol: PopProtocol;
  readonly #input = new CommandLines(MAX_LINE_BYTES);
  readonly #patience: Patience;
  readonly #wire: Wire;
  #maildrop: Maildrop | null = null;
  /** What the client's next line waits for. Only "sending" depends on the client. */
  #work: "none" | "working" | "sending" = "none";
  /** The client has said something. */
  #heard = false;
  /** The client has closed its sending side. */
  #ended = false;
  #over = false;
  #draining = false;

  constructor({ house, socket, peer, whenGone }: PopSessionOptions) {
    this.#house = house;
    this.#peer = peer;
    this.#wire = new Wire(socket);
    this.#protocol = new PopProtocol(house.rules, peer);
    this.#patience = new Patience(house.idleTimeoutMs, house.clock.monotonic());
    socket.once("close", () => {
      if (this.#patience.handshaking) this.#handshakeFailed("connection closed");
      this.#finish(DISCONNECTED);
      this.#wire.gone();
      whenGone();
    });
  }

  /** Begins with the greeting; with implicit TLS after the handshake. */
  start(): void {
    const { journal, implicitTls } = this.#house;
    const local = localEnd(this.#wire.socket);
    journal.tell({ kind: "session.opened", server: "pop", peer: this.#peer, local });
    this.#wire.socket.on("error", () => this.#finish(DISCONNECTED));
    if (implicitTls) {
      this.#upgrade();
      return;
    }
    this.#listen(this.#wire.socket);
    this.#say(this.#protocol.greeting());
    this.#wire.flush();
  }

  check(now: number): void {
    if (this.#over) {
      if (this.#patience.lingered(now)) this.#wire.destroy();
      return;
    }
    const busy = this.#work === "working";
    const why = this.#patience.exhausted(now, { busy, loggedIn: this.#protocol.loggedIn });
    if (why === null) return;
    if (this.#patience.handshaking) this.#handshakeFailed(why);
    // Nothing is said and nothing removed (RFC 1939 3).
    else if (this.#work === "sending") this.#cut(why);
    else this.#finishAfter("", why);
  }

  drain(): void {
    this.#draining = true;
    if (this.#over) this.#partSoon();
    else if (this.#work === "none") this.#finishAfter("", SHUTTING_DOWN);
  }

  destroy(): void {
    this.#cut(SHUTTING_DOWN);
  }

  #listen(socket: Socket): void {
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("end", () => this.#endOfInput());
    socket.on("drain", () => this.#drained());
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    if (!this.#heard && this.#isTlsHandshake(chunk)) return;
    this.#heard = true;
    this.#patience.heard(this.#house.clock.monotonic());
    this.#input.push(chunk);
    if (this.#waiting) this.#wire.pause();
    else this.#pump();
  }

  /** A TLS client on a plain port would wait for ever for an answer it understands. */
  #isTlsHandshake(chunk: Buffer): boolean {
    if (chunk[0] !== 0x16 || chunk[1] !== 0x03 || this.#protocol.secure) return false;
    const text =
      "received unexpected tls handshake packet from remote client: try enabling implicit tls (pop3s)";
    this.#house.journal.tell({ kind: "note", level: "warning", detail: false, text });
    this.#finishAfter("", "unexpected tls handshake");
    return true;
  }

  get #waiting(): boolean {
    return this.#work !== "none" || this.#wire.blocked;
  }

  /** Goes on after waiting. */
  #goOn(): void {
    if (this.#over || this.#waiting) return;
    this.#pump();
    if (!this.#over && !this.#waiting) this.#wire.resume();
  }

  #endOfInput(): void {
    this.#ended = true;
    if (!this.#over && !this.#waiting) this.#pump();
  }

  #drained(): void {
    this.#patience.heard(this.#house.clock.monotonic());
    this.#wire.unblock();
    this.#goOn();
  }

  /** Takes what can be taken of the input, then writes all the replies at once. */
  #pump(): void {
    while (!this.#over && !this.#waiting && this.#advance());
    if (this.#over || this.#work !== "none") return;
    this.#patience.note(this.#input.partial);
    this.#wire.flush();
    if (this.#draining) this.#finishAfter("", SHUTTING_DOWN);
    else if (this.#ended && !this.#waiting) this.#finishAfter("", DISCONNECTED);
  }

  /** One step on; false when more input is needed. */
  #advance(): boolean {
    const line = this.#input.next();
    if (line === null) return false;
    this.#patience.commandDone();
    if (line === "too long") {
      this.#do(this.#protocol.lineTooLong());
      return true;
    }
    if (this.#house.journal.detail) this.#trace("rx", this.#protocol.describe(line));
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
        this.#finishAfter(step.text, step.why);
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
    this.#work = work;
    task.then(
      () => this.#stopWaiting(),
      (error: unknown) => {
        if (!this.#house.signal.aborted) this.#warn(describeError(error));
        this.#cut("internal error");
      },
    );
  }

  #stopWaiting(): void {
    this.#work = "none";
    this.#patience.heard(this.#house.clock.monotonic());
    this.#goOn();
  }

  async #list(text: string, lines: Iterable<string>): Promise<void> {
    this.#say(text);
    await sendLines(this.#wire, lines);
  }

  async #sayLater(text: string, delayMs: number): Promise<void> {
    this.#wire.flush();
    await this.#house.clock.sleep(delayMs, this.#house.signal);
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
      this.#maildrop = await openMaildrop(this.#house, id);
    } catch (error) {
      this.#warn(describeError(error));
    }
    if (!this.#over) this.#do(this.#protocol.opened(this.#maildrop?.messages ?? null));
  }

  async #send(message: MailMessage, bodyLines: number): Promise<void> {
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
      if (this.#house.journal.detail) this.#trace("tx", "[message content not logged]");
      await sendContent(this.#wire, { file, size }, new ContentEncoder(bodyLines));
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

  /** What came before the handshake, half a command included, is not used after it (RFC 2595 2.1). */
  #startTls(text: string): void {
    this.#work = "working";
    this.#say(text);
    this.#wire.flushThen(() => this.#upgrade());
  }

  #upgrade(): void {
    const { keys } = this.#house;
    if (keys === null || this.#over) return;
    this.#work = "working";
    this.#wire.quiet();
    this.#input.clear();
    this.#patience.handshaking = true;
    secure(this.#wire.socket, keys).then(
      (secured) => this.#secured(secured),
      (error: unknown) => this.#handshakeFailed(describeError(error)),
    );
  }

  #handshakeFailed(detail: string): void {
    const why = `tls error: SSL_accept(): [${detail}]`;
    if (!this.#over) this.#house.journal.tell({ kind: "tls.failed", peer: this.#peer, why });
    this.#cut("peer disconnected: ssl accept");
  }

  #secured({ socket, encryption }: Secured): void {
    if (this.#over) {
      socket.destroy();
      return;
    }
    const { journal, implicitTls } = this.#house;
    const { protocol, cipher } = encryption;
    journal.tell({ kind: "tls.established", peer: this.#peer, protocol, cipher });
    this.#wire.replace(socket);
    this.#patience.handshaking = false;
    this.#protocol.secured();
    socket.on("error", () => this.#finish(DISCONNECTED));
    this.#listen(socket);
    // After STLS nothing more is said (RFC 2595 4): the next reply belongs to the next command.
    if (implicitTls) this.#say(this.#protocol.greeting());
    this.#stopWaiting();
  }

  #say(text: string): void {
    if (this.#house.journal.detail) this.#trace("tx", text);
    this.#wire.say(`${text}\r\n`);
  }

  #trace(direction: "rx" | "tx", text: string): void {
    this.#house.journal.tell({ kind: "traffic", direction, peer: this.#peer, text });
  }

  #warn(text: string): void {
    this.#house.journal.tell({ kind: "note", level: "warning", detail: false, text });
  }

  /** Says a last word, if any, and closes our side. */
  #finishAfter(text: string, why: string): void {
    if (this.#over) return;
    if (text !== "") this.#say(text);
    this.#finish(why);
    this.#wire.end();
  }

  /** Ends without a word. */
  #cut(why: string): void {
    this.#finish(why);
    this.#wire.destroy();
  }

  #finish(why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#patience.linger(this.#house.clock.monotonic());
    this.#input.clear();
    this.#house.journal.tell({ kind: "session.closed", server: "pop", peer: this.#peer, why });
    if (why === SHUTTING_DOWN) this.#partSoon();
  }

  /** A client that does not close its side must not hold up the end of the program. */
  #partSoon(): void {
    setTimeout(() => this.#wire.destroy(), PARTING_MS).unref();
  }
}
