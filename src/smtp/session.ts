/** One client's connection, from its first packet to its last: the gate, TLS, deadlines, the end. */
import type { Socket } from "node:net";
import { describeError } from "../core/errors.ts";
import type { Peer } from "../core/events.ts";
import type { Reception } from "../core/intake.ts";
import { localEnd } from "../io/local-end.ts";
import { type Secured, type ServerKeys, secure } from "../io/server-tls.ts";
import { Patience } from "./patience.ts";
import {
  type DialogueHouse,
  PROTOCOL_DONE,
  ServerDialogue,
  SHUTTING_DOWN,
} from "./server-dialogue.ts";
import { Transcript } from "./transcript.ts";
import { Wire } from "./wire.ts";

/** How long our last words have to arrive at a client that does not close its side, when the program ends. */
const PARTING_MS = 500;

/** Decides whether a client may come in at all; false: its connection is closed without a word. */
export type Gate = (peer: Peer, signal: AbortSignal) => Promise<boolean>;

/** What a session needs of its listener. */
export interface SessionHouse extends DialogueHouse {
  /** null: everybody comes in. */
  readonly gate: Gate | null;
  /** null: no TLS. */
  readonly keys: ServerKeys | null;
}

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
  readonly #dialogue: ServerDialogue;
  readonly #patience: Patience;
  readonly #wire: Wire;
  /** Not null while the gate decides; aborted when nobody waits for that any more. */
  #atGate: AbortController | null = null;
  #over = false;

  constructor({ house, socket, peer, reception, whenGone }: SessionOptions) {
    this.#house = house;
    this.#peer = peer;
    const transcript = new Transcript(house.rules.journal, peer);
    this.#wire = new Wire(socket, transcript);
    this.#patience = new Patience(house.rules.config, house.clock.monotonic());
    this.#dialogue = new ServerDialogue({
      house,
      peer,
      reception,
      wire: this.#wire,
      patience: this.#patience,
      transcript,
      upgrade: () => this.#startTls(),
      end: (reply, why) => this.#finishAfter(reply, why),
      quit: (reply) => this.#quit(reply),
      destroy: () => this.destroy(),
    });
    socket.on("close", () => {
      if (this.#patience.handshaking) this.#handshakeFailed("connection closed");
      this.#finish("peer disconnected");
      whenGone();
    });
  }

  /** Begins with the gate, then with implicit TLS the handshake, then the greeting. */
  start(): void {
    const local = () => localEnd(this.#wire.socket);
    this.#house.rules.journal.tell({
      kind: "session.opened",
      server: "smtp",
      peer: this.#peer,
      local,
    });
    this.#wire.socket.on("error", () => this.#finish("peer disconnected"));
    const { gate } = this.#house;
    if (gate === null) this.#enter();
    else void this.#passGate(gate);
  }

  /** The listener's tick: ends what takes too long. */
  check(now: number): void {
    if (this.#over) {
      if (this.#patience.lingered(now)) this.#wire.destroy();
      return;
    }
    const busy = this.#dialogue.busy || this.#atGate !== null;
    const why = this.#patience.exhausted(now, busy);
    if (why === null) return;
    if (this.#patience.handshaking) this.#handshakeFailed(why);
    else this.#finishAfter("421 4.4.2 timed out", why);
  }

  /** Ends the session as soon as no message is in hand; at the gate and in a handshake there is none. */
  drain(): void {
    if (this.#over) this.#partSoon();
    else if (this.#atGate !== null || this.#patience.handshaking) this.destroy();
    else this.#dialogue.drain();
  }

  /** Ends at once. */
  destroy(): void {
    this.#finish(SHUTTING_DOWN);
    this.#wire.destroy();
  }

  /** What a client says before it was greeted is not listened to, and never used later. */
  async #passGate(gate: Gate): Promise<void> {
    const { rules } = this.#house;
    const implicit = rules.config.tls?.mode === "implicit";
    const { socket } = this.#wire;
    if (!implicit) {
      socket.on("data", () => undefined);
      socket.once("end", () => this.#finishAfter("", "peer disconnected"));
    }
    const waiting = new AbortController();
    this.#atGate = waiting;
    let welcome = true;
    try {
      welcome = await gate(this.#peer, waiting.signal);
    } catch (error) {
      // A gate that is out of order stops nobody.
      const text = `smtp server: ${describeError(error)}`;
      if (!this.#over) rules.journal.tell({ kind: "note", level: "warning", detail: false, text });
    }
    this.#atGate = null;
    if (this.#over) return;
    this.#patience.admitted(this.#house.clock.monotonic());
    if (!welcome) {
      this.#finish("dnsbl");
      this.#wire.destroy();
      return;
    }
    if (!implicit) this.#wire.quiet();
    this.#enter();
  }

  #enter(): void {
    if (this.#house.rules.config.tls?.mode === "implicit") {
      this.#upgrade();
      return;
    }
    this.#listen(this.#wire.socket);
    this.#dialogue.greet();
  }

  #listen(socket: Socket): void {
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("end", () => {
      if (!this.#over) this.#dialogue.endOfInput();
    });
    socket.on("drain", () => this.#drained());
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    if (this.#patience.fresh && this.#isTlsHandshake(chunk)) return;
    this.#patience.heard(this.#house.clock.monotonic());
    this.#dialogue.hear(chunk);
  }

  /** A TLS client on a plain port would wait for ever for an answer it understands. */
  #isTlsHandshake(chunk: Buffer): boolean {
    if (chunk[0] !== 0x16 || chunk[1] !== 0x03 || this.#dialogue.encrypted) return false;
    const text =
      "received unexpected tls handshake packet from remote client: try enabling implicit tls (smtps)";
    this.#house.rules.journal.tell({ kind: "note", level: "warning", detail: false, text });
    this.#finishAfter("", "unexpected tls handshake");
    return true;
  }

  #drained(): void {
    this.#patience.heard(this.#house.clock.monotonic());
    this.#wire.blocked = false;
    this.#dialogue.goOn();
  }

  /** What came before the handshake is thrown away, however it came: it was said in the clear (RFC 3207 4.2). */
  #startTls(): void {
    if (this.#over) return;
    this.#wire.quiet();
    this.#upgrade();
  }

  /** With implicit TLS the first packets of the handshake may be there already, and nobody has read from the socket. */
  #upgrade(): void {
    const { keys } = this.#house;
    if (keys === null || this.#over) return;
    this.#dialogue.forget();
    this.#patience.handshakeBegun(this.#house.clock.monotonic());
    secure(this.#wire.socket, keys).then(
      (secured) => this.#secured(secured),
      (error: unknown) => this.#handshakeFailed(describeError(error)),
    );
  }

  #handshakeFailed(detail: string): void {
    const why = `SSL_accept(): [${detail}]`;
    if (!this.#over) this.#house.rules.journal.tell({ kind: "tls.failed", peer: this.#peer, why });
    this.#finish("peer disconnected: ssl accept");
    this.#wire.destroy();
  }

  #secured({ socket, encryption }: Secured): void {
    if (this.#over) {
      socket.destroy();
      return;
    }
    const { config, journal } = this.#house.rules;
    const { protocol, cipher } = encryption;
    journal.tell({ kind: "tls.established", peer: this.#peer, protocol, cipher });
    this.#wire.replace(socket);
    this.#patience.handshakeDone();
    socket.on("error", () => this.#finish("peer disconnected"));
    this.#listen(socket);
    this.#dialogue.secured(encryption, config.tls?.mode === "implicit" ? "greet" : "go on");
  }

  /** Says a last word and closes our side; what the client still sends is read, but no longer looked at. */
  #finishAfter(reply: string, why: string): void {
    if (this.#over) return;
    this.#wire.say(reply);
    this.#finish(why);
    this.#wire.end(this.#house.rules.config.smtp.linger);
  }

  /** As `#finishAfter`, for a client that has quit: with nothing left to read no reset can cost it our last words. */
  #quit(reply: string): void {
    this.#wire.say(reply);
    this.#finish(PROTOCOL_DONE);
    this.#wire.close(this.#house.rules.config.smtp.linger);
  }

  #finish(why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#atGate?.abort();
    this.#patience.linger(this.#house.clock.monotonic());
    this.#house.rules.journal.tell({
      kind: "session.closed",
      server: "smtp",
      peer: this.#peer,
      why,
    });
    this.#dialogue.close();
    if (why === SHUTTING_DOWN) this.#partSoon();
  }

  /** A client that does not close its side must not hold up the end of the program. */
  #partSoon(): void {
    setTimeout(() => this.#wire.destroy(), PARTING_MS).unref();
  }
}
