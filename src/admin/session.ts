/**
 * One administrator's connection: takes a command at a time and answers it. While the client does
 * not read, no further command of its is taken.
 */
import type { Socket } from "node:net";
import type { Control } from "../core/control.ts";
import { describeError } from "../core/errors.ts";
import type { Journal, Peer } from "../core/events.ts";
import { localEnd } from "../io/local-end.ts";
import { answer, type Desk, NO_SMARTHOST } from "./answer.ts";
import { type Command, parseCommand, type Question } from "./command.ts";
import { LineReader } from "./line-reader.ts";
import { oneLine } from "./one-line.ts";
import { Outlet } from "./outlet.ts";

/** What a session needs of its server. */
export interface SessionHouse extends Desk {
  readonly journal: Journal;
  readonly monotonic: () => number;
}

export interface SessionOptions {
  readonly house: SessionHouse;
  readonly socket: Socket;
  readonly peer: Peer;
  /** Called once, when the connection is gone. */
  readonly whenGone: () => void;
}

const PROMPT = "E-MailRelay> ";
/** The one that drops the connection. Source: R14. */
const MAX_UNKNOWN = 30;
/** A client that reads nothing for so long is cut off when it leaves, or when so much waits for it. */
const STALLED_MS = 60_000;
const STALLED_BYTES = 1_048_576;

export class AdminSession {
  readonly #house: SessionHouse;
  readonly #socket: Socket;
  readonly #peer: Peer;
  readonly #input = new LineReader();
  readonly #outlet: Outlet;
  /** The store is at work: the next command waits. */
  #busy = false;
  #flushing = false;
  #unknown = 0;
  /** The client has closed its sending side. */
  #ended = false;
  #draining = false;
  #over = false;
  /** When the client was last seen to read, and what it had read by then. */
  #moved: number;
  #progress = 0;
  /** The client asked for events. */
  #notified = false;

  constructor({ house, socket, peer, whenGone }: SessionOptions) {
    this.#house = house;
    this.#socket = socket;
    this.#peer = peer;
    this.#moved = house.monotonic();
    this.#outlet = new Outlet(socket, () => this.#pump());
    socket.once("close", () => {
      this.#finish("peer disconnected");
      whenGone();
    });
  }

  start(): void {
    const local = () => localEnd(this.#socket);
    this.#house.journal.tell({ kind: "session.opened", server: "admin", peer: this.#peer, local });
    this.#socket.on("error", () => this.#finish("peer disconnected"));
    this.#socket.on("data", (chunk: Buffer) => {
      if (this.#over) return;
      this.#input.push(chunk);
      this.#pump();
    });
    this.#socket.on("end", () => {
      this.#ended = true;
      this.#pump();
    });
  }

  /** The words of an event, if this client asked for events. */
  announce(words: string): void {
    if (this.#notified && !this.#over) this.#outlet.announce(`${this.#input.eol}EVENT: ${words}  `);
  }

  /** The server's tick: there is no time limit but for clients that do not read. */
  check(now: number): void {
    const { blocked, pending, progress } = this.#outlet;
    const leaving = this.#over || this.#ended;
    if (progress !== this.#progress || !(blocked || leaving)) {
      this.#progress = progress;
      this.#moved = now;
      return;
    }
    const matters = leaving ? !this.#flushing : pending > STALLED_BYTES;
    if (matters && now - this.#moved >= STALLED_MS) this.#cut("client does not read");
  }

  /** Ends the session as soon as no flush is in hand. */
  drain(): void {
    this.#draining = true;
    if (this.#over) this.#socket.destroy();
    else if (!this.#busy && !this.#flushing) this.#close("shutting down", "close");
  }

  /** Ends at once. */
  destroy(): void {
    this.#cut("shutting down");
  }

  #cut(why: string): void {
    this.#finish(why);
    this.#socket.destroy();
  }

  #pump(): void {
    while (!this.#over && !this.#waiting) {
      const line = this.#input.line();
      if (line === null) break;
      this.#obey(parseCommand(line));
    }
    if (this.#over) return;
    if (this.#waiting) {
      this.#socket.pause();
      return;
    }
    this.#socket.resume();
    if (this.#input.tooLong) this.#close("line too long", "linger");
    else if (this.#flushing) return;
    else if (this.#draining) this.#close("shutting down", "close");
    else if (this.#ended) this.#close("peer disconnected", "close");
  }

  get #waiting(): boolean {
    return this.#busy || this.#outlet.blocked;
  }

  #obey(command: Command): void {
    const { terminate } = this.#house;
    if (command.kind === "notify") this.#notified = true;
    else if (command.kind === "flush") this.#flush();
    else if (command.kind === "forward") this.#forward();
    else if (command.kind === "quit") this.#close("quit", "linger");
    else if (command.kind === "unknown") this.#refuse();
    else if (command.kind !== "terminate") this.#answer(command);
    else if (terminate === null) this.#refuse();
    else this.#terminate(terminate);
  }

  /** What else the client has sent is not done any more. */
  #terminate(terminate: () => void): void {
    terminate();
    if (!this.#over) this.#close("shutting down", "close");
  }

  #refuse(): void {
    this.#unknown += 1;
    if (this.#unknown >= MAX_UNKNOWN) this.#close("too many unknown commands", "linger");
    else this.#reply(["error: unrecognised command"]);
  }

  /** The answer comes before the events of what it starts. */
  #forward(): void {
    const { control } = this.#house;
    this.#reply([control.forwards ? "OK" : NO_SMARTHOST]);
    if (control.forwards) control.forward();
  }

  /** The client may go on with other commands meanwhile. */
  #flush(): void {
    const { control } = this.#house;
    if (this.#flushing) {
      this.#reply(["error: still working"]);
    } else if (control.forwards) {
      this.#flushing = true;
      void flushed(control).then((line) => {
        this.#flushing = false;
        this.#replyLate([line]);
      });
    } else {
      this.#reply([NO_SMARTHOST]);
    }
  }

  #answer(question: Question): void {
    this.#busy = true;
    void answer(question, this.#house)
      .catch((error: unknown) => [`error: ${oneLine(describeError(error))}`])
      .then((lines) => {
        this.#busy = false;
        this.#replyLate(lines);
      });
  }

  #replyLate(lines: readonly string[]): void {
    if (this.#over) return;
    this.#reply(lines);
    this.#pump();
  }

  #reply(lines: readonly string[]): void {
    const { eol } = this.#input;
    this.#outlet.say(lines.length === 0 ? PROMPT : `${lines.join(eol)}${eol}${PROMPT}`);
  }

  #close(why: string, how: "linger" | "close"): void {
    this.#finish(why);
    this.#outlet.end(how);
    // What the client still sends is read, but no longer looked at.
    this.#socket.resume();
  }

  #finish(why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#moved = this.#house.monotonic();
    this.#input.clear();
    this.#house.journal.tell({ kind: "session.closed", server: "admin", peer: this.#peer, why });
  }
}

/** What `flush` says in the end. */
async function flushed(control: Control): Promise<string> {
  try {
    const { tried, error } = await control.flush();
    if (error !== null) return `error: ${oneLine(error)}`;
    return tried === 0 ? "error: no messages to send" : "OK";
  } catch (error) {
    return `error: ${oneLine(describeError(error))}`;
  }
}
