/** One client's connection, from its first packet to its last: TLS, deadlines, the end. */
import type { Socket } from "node:net";
import { describeError } from "../core/errors.ts";
import type { Peer } from "../core/events.ts";
import type { Connection } from "../io/acceptor.ts";
import { localEnd } from "../io/local-end.ts";
import { type Secured, type ServerKeys, secure } from "../io/server-tls.ts";
import { DISCONNECTED, type DialogueHouse, PopDialogue, SHUTTING_DOWN } from "./dialogue.ts";
import { Patience } from "./patience.ts";
import { Wire } from "./wire.ts";

/** What a session needs of its server. */
export interface PopHouse extends DialogueHouse {
  readonly idleTimeoutMs: number;
  /** null: no TLS. */
  readonly keys: ServerKeys | null;
  /** The handshake comes before the greeting. */
  readonly implicitTls: boolean;
}

/** How long our last words have to arrive at a client that does not close its side, when the program ends. */
const PARTING_MS = 500;

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
  readonly #dialogue: PopDialogue;
  readonly #patience: Patience;
  readonly #wire: Wire;
  /** The client has said something. */
  #heard = false;
  #over = false;

  constructor({ house, socket, peer, whenGone }: PopSessionOptions) {
    this.#house = house;
    this.#peer = peer;
    this.#wire = new Wire(socket);
    this.#patience = new Patience(house.idleTimeoutMs, house.clock.monotonic());
    this.#dialogue = new PopDialogue({
      house,
      peer,
      wire: this.#wire,
      patience: this.#patience,
      upgrade: () => this.#upgrade(),
      end: (why) => this.#end(why),
      cut: (why) => this.#cut(why),
    });
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
    const local = () => localEnd(this.#wire.socket);
    journal.tell({ kind: "session.opened", server: "pop", peer: this.#peer, local });
    this.#wire.socket.on("error", () => this.#finish(DISCONNECTED));
    if (implicitTls) {
      this.#upgrade();
      return;
    }
    this.#listen(this.#wire.socket);
    this.#dialogue.greet();
  }

  check(now: number): void {
    if (this.#over) {
      if (this.#patience.lingered(now)) this.#wire.destroy();
      return;
    }
    const { work, loggedIn } = this.#dialogue;
    const why = this.#patience.exhausted(now, { busy: work === "working", loggedIn });
    if (why === null) return;
    if (this.#patience.handshaking) this.#handshakeFailed(why);
    // Nothing is said and nothing removed (RFC 1939 3).
    else if (work === "sending") this.#cut(why);
    else this.#end(why);
  }

  /** Ends the session as soon as the command in hand is done; a handshake is none. */
  drain(): void {
    if (this.#over) this.#partSoon();
    else if (this.#patience.handshaking) this.destroy();
    else this.#dialogue.drain();
  }

  destroy(): void {
    this.#cut(SHUTTING_DOWN);
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
    if (!this.#heard && this.#isTlsHandshake(chunk)) return;
    this.#heard = true;
    this.#patience.heard(this.#house.clock.monotonic());
    this.#dialogue.hear(chunk);
  }

  /** A TLS client on a plain port would wait for ever for an answer it understands. */
  #isTlsHandshake(chunk: Buffer): boolean {
    if (chunk[0] !== 0x16 || chunk[1] !== 0x03 || this.#dialogue.encrypted) return false;
    const text =
      "received unexpected tls handshake packet from remote client: try enabling implicit tls (pop3s)";
    this.#house.journal.tell({ kind: "note", level: "warning", detail: false, text });
    this.#end("unexpected tls handshake");
    return true;
  }

  #drained(): void {
    this.#patience.heard(this.#house.clock.monotonic());
    this.#wire.unblock();
    this.#dialogue.goOn();
  }

  #upgrade(): void {
    const { keys } = this.#house;
    if (keys === null || this.#over) return;
    this.#wire.quiet();
    this.#dialogue.forget();
    this.#patience.handshakeBegun(this.#house.clock.monotonic());
    secure(this.#wire.socket, keys).then(
      (secured) => this.#secured(secured),
      (error: unknown) => this.#handshakeFailed(describeError(error)),
    );
  }

  #handshakeFailed(detail: string): void {
    const why = `SSL_accept(): [${detail}]`;
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
    this.#patience.handshakeDone();
    socket.on("error", () => this.#finish(DISCONNECTED));
    this.#listen(socket);
    this.#dialogue.secured(implicitTls ? "greet" : "go on");
  }

  /** Sends what has been said, and closes our side. */
  #end(why: string): void {
    if (this.#over) return;
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
    this.#dialogue.close();
    this.#house.journal.tell({ kind: "session.closed", server: "pop", peer: this.#peer, why });
    if (why === SHUTTING_DOWN) this.#partSoon();
  }

  /** A client that does not close its side must not hold up the end of the program. */
  #partSoon(): void {
    setTimeout(() => this.#wire.destroy(), PARTING_MS).unref();
  }
}
