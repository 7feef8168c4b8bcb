/**
 * One client's connection: feeds its bytes to the protocol and does what that asks. One thing at a time:
 * while the verifier or the store works, the client waits, and nothing it sends is kept without limit.
 */
import type { Socket } from "node:net";
import { assertNever } from "../core/assert-never.ts";
import type { Clock } from "../core/clock.ts";
import { describeError } from "../core/errors.ts";
import type { Peer } from "../core/events.ts";
import type { Reception } from "../core/intake.ts";
import type { Reply } from "../core/reply.ts";
import type { RecipientQuery, Verification, Verifier } from "../core/verifier.ts";
import { localEnd } from "../io/local-end.ts";
import { type Secured, type ServerKeys, secure } from "../io/server-tls.ts";
import { ContentDesk } from "./content-desk.ts";
import { LineReader } from "./line.ts";
import { Patience } from "./patience.ts";
import { MAX_LINE_BYTES, ServerProtocol, type ServerRules } from "./server-protocol.ts";
import { replyText, type ServerStep } from "./server-reply.ts";
import { Wire } from "./wire.ts";

/** What a session needs of its listener. */
export interface SessionHouse {
  readonly rules: ServerRules;
  readonly verifier: Verifier;
  readonly clock: Clock;
  /** null: no TLS. */
  readonly keys: ServerKeys | null;
  /** Aborted when everything ends at once. */
  readonly signal: AbortSignal;
}

/** Unread input of a client that has to wait. */
const INPUT_BYTES = 65536;

const SHUTTING_DOWN = "shutting down";
const GOODBYE = "421 service not available";

export interface SessionOptions {
  readonly house: SessionHouse;
  readonly socket: Socket;
  readonly peer: Peer;
  readonly reception: Reception;
  /** Called once, when the connection is gone. */
  readonly whenGone: () => void;
}

export class Session {
  readonly #house: SessionHouse;
  readonly #peer: Peer;
  readonly #protocol: ServerProtocol;
  readonly #desk: ContentDesk;
  readonly #input = new LineReader(MAX_LINE_BYTES);
  readonly #patience: Patience;
  readonly #wire: Wire;
  /** The verifier, the store, a handshake or a delay is at work: the client's next line waits. */
  #busy = false;
  /** There is no room for more content at the moment. */
  #full = false;
  /** The client has closed its sending side. */
  #ended = false;
  /** Octets to throw away, then this step. */
  #skip: { left: number; readonly next: ServerStep } | null = null;
  #over = false;
  #draining = false;

  constructor({ house, socket, peer, reception, whenGone }: SessionOptions) {
    this.#house = house;
    this.#wire = new Wire(socket);
    this.#peer = peer;
    this.#protocol = new ServerProtocol(house.rules, peer);
    this.#desk = new ContentDesk({
      house,
      peer,
      protocol: this.#protocol,
      reception,
      whenRoom: () => this.#roomAgain(),
      whenAnswered: (reply) => this.#contentAnswered(reply),
    });
    this.#patience = new Patience(house.rules.config, house.clock.monotonic());
    socket.once("close", () => {
      if (this.#patience.handshaking) this.#handshakeFailed("connection closed");
      this.#finish("peer disconnected");
      whenGone();
    });
  }

  /** Begins with the greeting; with implicit TLS after the handshake. */
  start(): void {
    const { config, journal } = this.#house.rules;
    const local = localEnd(this.#wire.socket);
    journal.tell({ kind: "session.opened", server: "smtp", peer: this.#peer, local });
    this.#wire.socket.on("error", () => this.#finish("peer disconnected"));
    if (config.tls?.mode === "implicit") {
      this.#upgrade();
      return;
    }
    this.#listen(this.#wire.socket);
    this.#greet();
  }

  /** The listener's tick: ends what takes too long. */
  check(now: number): void {
    if (this.#over) {
      if (this.#patience.lingered(now)) this.#wire.destroy();
      return;
    }
    const why = this.#patience.exhausted(now, this.#busy);
    if (why === null) return;
    if (this.#patience.handshaking) this.#handshakeFailed(why);
    else this.#finishAfter("421 4.4.2 timed out", why);
  }

  /** Ends the session as soon as no message is in hand. */
  drain(): void {
    this.#draining = true;
    if (this.#over || this.#busy || this.#desk.receiving) return;
    this.#finishAfter(GOODBYE, SHUTTING_DOWN);
  }

  /** Ends at once. */
  destroy(): void {
    this.#finish(SHUTTING_DOWN);
    this.#wire.destroy();
  }

  #listen(socket: Socket): void {
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("end", () => this.#endOfInput());
    socket.on("drain", () => this.#drained());
  }

  #greet(): void {
    this.#say(this.#protocol.greeting());
    this.#wire.flush();
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    if (this.#patience.fresh && this.#isTlsHandshake(chunk)) return;
    this.#patience.heard(this.#house.clock.monotonic());
    this.#input.push(chunk);
    if (this.#waiting) this.#pauseIfFull();
    else this.#pump();
  }

  /** A TLS client on a plain port would wait for ever for an answer it understands. */
  #isTlsHandshake(chunk: Buffer): boolean {
    if (chunk[0] !== 0x16 || chunk[1] !== 0x03 || this.#protocol.encryption !== null) return false;
    const text =
      "received unexpected tls handshake packet from remote client: try enabling implicit tls (smtps)";
    this.#house.rules.journal.tell({ kind: "note", level: "warning", detail: false, text });
    this.#finishAfter("", "unexpected tls handshake");
    return true;
  }

  get #waiting(): boolean {
    return this.#busy || this.#wire.blocked || this.#full;
  }

  #pauseIfFull(): void {
    if (this.#full || this.#input.pending >= INPUT_BYTES) this.#wire.pause();
  }

  /** Goes on after waiting. */
  #goOn(): void {
    if (this.#over || this.#waiting) return;
    this.#pump();
    if (!this.#waiting && !this.#over) this.#wire.resume();
  }

  #endOfInput(): void {
    this.#ended = true;
    if (!this.#over && !this.#waiting) this.#pump();
  }

  #drained(): void {
    this.#patience.heard(this.#house.clock.monotonic());
    this.#wire.blocked = false;
    this.#goOn();
  }

  #roomAgain(): void {
    this.#full = false;
    this.#goOn();
  }

  /** Takes what can be taken of the input, then writes all the replies at once. */
  #pump(): void {
    let more = true;
    while (more && !this.#over && !this.#waiting) more = this.#advance();
    if (this.#over) return;
    const { receiving, open } = this.#desk;
    this.#patience.note(this.#input.partial || this.#skip !== null, receiving || open);
    if (this.#busy) return;
    this.#wire.flush();
    if (this.#draining && !receiving) this.#finishAfter(GOODBYE, SHUTTING_DOWN);
    else if (this.#ended && !this.#waiting) this.#finishAfter("", "peer disconnected");
  }

  /** One step on; false when more input is needed. */
  #advance(): boolean {
    if (this.#desk.receiving) return this.#content();
    if (this.#skip !== null) return this.#skipOctets(this.#skip);
    const line = this.#input.line();
    if (line === null) return false;
    this.#patience.lineDone();
    if (line === "too long") {
      this.#do(this.#protocol.lineTooLong());
    } else {
      if (this.#house.rules.journal.detail) this.#trace("rx", this.#protocol.describe(line));
      this.#do(this.#protocol.command(line));
    }
    const { open, receiving } = this.#desk;
    if (open && !receiving && !this.#protocol.betweenChunks) this.#desk.abandon();
    return true;
  }

  #do(step: ServerStep): void {
    switch (step.kind) {
      case "reply":
        this.#say(step.reply);
        break;
      case "late reply":
        this.#wait(this.#sayLater(step.reply, step.delayMs));
        break;
      case "close":
        this.#finishAfter(step.reply, step.why);
        break;
      case "verify":
        this.#wait(this.#verify(step.query));
        break;
      case "data":
        this.#say(step.reply);
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
        this.#full = true;
        this.#pauseIfFull();
        return false;
      case "chunk":
        this.#do(this.#protocol.chunkDone(taken.size, taken.tooBig));
        if (!this.#protocol.betweenChunks) this.#desk.abandon();
        return true;
      case "end":
        // The store may take its time; what was answered before need not wait for it.
        this.#wire.flush();
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

  #contentAnswered(reply: Reply): void {
    this.#protocol.contentDone();
    if (this.#over) return;
    this.#say(replyText(reply));
    this.#stopWaiting();
  }

  async #verify(query: RecipientQuery): Promise<void> {
    const { verifier, signal } = this.#house;
    let answer: Verification;
    try {
      answer = await verifier.verify(query, signal);
    } catch (error) {
      const reply = { code: 450, text: "cannot verify" };
      answer = { kind: "refuse", reply, reason: describeError(error) };
    }
    if (!this.#over) this.#do(this.#protocol.verified(answer));
  }

  async #sayLater(text: string, delayMs: number): Promise<void> {
    await this.#house.clock.sleep(delayMs, this.#house.signal);
    if (!this.#over) this.#say(text);
  }

  /** The client waits for this work; only the end of everything interrupts it. */
  #wait(work: Promise<void>): void {
    this.#busy = true;
    work.then(
      () => this.#stopWaiting(),
      () => this.destroy(),
    );
  }

  #stopWaiting(): void {
    this.#busy = false;
    this.#patience.heard(this.#house.clock.monotonic());
    this.#goOn();
  }

  /** What came before the handshake, half a command included, is not used after it (RFC 3207 4.2). */
  #startTls(reply: string): void {
    this.#busy = true;
    this.#say(reply);
    this.#wire.flushThen(() => this.#upgrade());
  }

  #upgrade(): void {
    const { keys, rules } = this.#house;
    if (keys === null || this.#over) return;
    this.#busy = true;
    this.#wire.quiet();
    this.#input.clear();
    this.#patience.handshaking = true;
    secure(this.#wire.socket, keys).then(
      (secured) => this.#secured(secured, rules),
      (error: unknown) => this.#handshakeFailed(describeError(error)),
    );
  }

  #handshakeFailed(detail: string): void {
    const why = `tls error: SSL_accept(): [${detail}]`;
    if (!this.#over) this.#house.rules.journal.tell({ kind: "tls.failed", peer: this.#peer, why });
    this.#finish("peer disconnected: ssl accept");
    this.#wire.destroy();
  }

  #secured({ socket, encryption }: Secured, { config, journal }: ServerRules): void {
    if (this.#over) {
      socket.destroy();
      return;
    }
    const { protocol, cipher } = encryption;
    journal.tell({ kind: "tls.established", peer: this.#peer, protocol, cipher });
    this.#wire.replace(socket);
    this.#patience.handshaking = false;
    this.#protocol.secured(encryption);
    socket.on("error", () => this.#finish("peer disconnected"));
    this.#listen(socket);
    if (config.tls?.mode === "implicit") this.#say(this.#protocol.greeting());
    this.#stopWaiting();
  }

  #say(text: string): void {
    if (text === "") return;
    if (this.#house.rules.journal.detail) {
      for (const line of text.split("\r\n")) this.#trace("tx", line);
    }
    this.#wire.say(text);
  }

  #trace(direction: "rx" | "tx", text: string): void {
    this.#house.rules.journal.tell({ kind: "traffic", direction, peer: this.#peer, text });
  }

  /** Says a last word and closes our side; what the client still sends is read, but no longer looked at. */
  #finishAfter(reply: string, why: string): void {
    if (this.#over) return;
    this.#say(reply);
    this.#finish(why);
    this.#wire.end(this.#house.rules.config.smtp.linger);
  }

  #finish(why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#patience.linger(this.#house.clock.monotonic());
    this.#input.clear();
    this.#house.rules.journal.tell({
      kind: "session.closed",
      server: "smtp",
      peer: this.#peer,
      why,
    });
    this.#desk.close();
  }
}
