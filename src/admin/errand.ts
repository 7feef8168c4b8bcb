/** One command for an admin server: says it, takes the reply, and knows where that ends. */
import { connect, type Socket } from "node:net";
import { displayAddress } from "../core/endpoint.ts";
import { systemText } from "../io/system-text.ts";
import type { Place } from "./where.ts";

export interface Errand {
  readonly place: Place;
  /** One line. */
  readonly command: string;
  /** Text for standard output, with line ends. */
  readonly print: (text: string) => void;
  /** One line for standard error. */
  readonly complain: (text: string) => void;
}

const PROMPT = "E-MailRelay> ";
/** A server that says nothing for so long is not there; a flush may take its time, and events come when they come. */
const SILENCE_MS = 60_000;

/** Resolves to the exit code: 0 when all is well, 1 when the server says that it is not, or is not there. */
export async function runErrand(errand: Errand): Promise<number> {
  const place = errand.place;
  const socket = connect("path" in place ? { path: place.path } : { ...place, noDelay: true });
  try {
    return await new Conversation(errand, socket).over;
  } finally {
    socket.destroy();
  }
}

class Conversation {
  readonly over: Promise<number>;
  readonly #errand: Errand;
  readonly #verb: string;
  readonly #chunks: string[] = [];
  /** The last characters that came, as many as a prompt after a line end has. */
  #tail = "\n";
  #connected = false;
  /** Events: the line under way. */
  #line = "";
  #end: (code: number) => void = () => undefined;

  constructor(errand: Errand, socket: Socket) {
    this.#errand = errand;
    this.#verb = errand.command.split(" ")[0]?.toLowerCase() ?? "";
    this.over = new Promise((resolve) => {
      this.#end = resolve;
    });
    socket.setEncoding("utf8");
    socket.setTimeout(SILENCE_MS, () => this.#fail(`no answer from ${this.#name}`));
    socket.once("connect", () => {
      this.#connected = true;
      if (this.#verb === "flush" || this.#verb === "notify") socket.setTimeout(0);
      socket.write(`${errand.command}\n`);
    });
    socket.on("data", (text: string) => {
      if (this.#verb === "notify") this.#events(text);
      else this.#hear(text);
    });
    socket.once("end", () => this.#closed());
    socket.once("error", (error) => this.#failed(error));
  }

  #hear(text: string): void {
    this.#chunks.push(text);
    this.#tail = `${this.#tail}${text}`.slice(-PROMPT.length - 1);
    if (this.#tail === `\n${PROMPT}`) this.#answered();
    else if (this.#chunks.length === 1 && /^(?:220[ -]|\+OK )/.test(text)) this.#stranger();
  }

  #answered(): void {
    const reply = this.#chunks.join("").slice(0, -PROMPT.length).replace(/\r+\n/g, "\n");
    if (/^(?:error|usage):/.test(reply)) {
      this.#fail(reply.trimEnd());
      return;
    }
    this.#errand.print(reply);
    this.#end(0);
  }

  /** An event has its line end before it, and two blanks behind it. */
  #events(text: string): void {
    const lines = `${this.#line}${text}`.split(/\r*\n/);
    this.#line = lines.pop() ?? "";
    if (this.#line.startsWith("EVENT: ") && this.#line.endsWith("  ")) {
      lines.push(this.#line);
      this.#line = "";
    }
    const told = lines.filter((line) => line !== "").map((line) => `${line.trimEnd()}\n`);
    if (told.length > 0) this.#errand.print(told.join(""));
    if (/^(?:220[ -]|\+OK )/.test(text)) this.#stranger();
  }

  #closed(): void {
    if (this.#verb === "terminate" || this.#verb === "quit") this.#end(0);
    else this.#fail(`${this.#name} has closed the connection`);
  }

  #failed(error: Error): void {
    const what = this.#connected ? "lost the connection to" : "cannot connect to";
    this.#fail(`${what} ${this.#name}: ${reason(error)}`);
  }

  #stranger(): void {
    this.#fail(`${this.#name} is not an admin server`);
  }

  #fail(why: string): void {
    this.#errand.complain(why);
    this.#end(1);
  }

  get #name(): string {
    const { place } = this.#errand;
    return "path" in place ? place.path : displayAddress(place.host, place.port);
  }
}

/** The system's words: "connection refused". A name with several addresses has an error for each. */
function reason(error: Error): string {
  return systemText(error instanceof AggregateError ? error.errors[0] : error);
}
