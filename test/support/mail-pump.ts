/** Sends messages over several connections until it is told to stop, and remembers which got a 250. */
import { connect, type Socket } from "node:net";
import { fingerprint } from "./recording-smarthost.ts";

/** Numbers from 0 to 1 that are the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export class MailPump {
  /** Hashes by key: everything sent, and what was accepted. */
  readonly sent = new Map<string, string>();
  readonly accepted = new Set<string>();
  readonly #port: number;
  readonly #random: () => number;
  readonly #prefix: string;
  #stopped = false;
  #working: Promise<unknown>;

  constructor(port: number, options: { prefix: string; sessions: number; random: () => number }) {
    this.#port = port;
    this.#prefix = options.prefix;
    this.#random = options.random;
    const sessions = Array.from({ length: options.sessions }, (_, n) => this.#sessions(n));
    this.#working = Promise.all(sessions);
  }

  /** Resolves when no message is in hand any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#working;
  }

  /** One session after the other, as they are cut off. */
  async #sessions(n: number): Promise<void> {
    for (let round = 0; !this.#stopped && round < 200; round++) {
      const talk = new PumpTalk(this.#port);
      try {
        await this.#session(talk, `${this.#prefix}-${n}-${round}`);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 10));
      } finally {
        talk.close();
      }
    }
  }

  async #session(talk: PumpTalk, prefix: string): Promise<void> {
    await talk.reply();
    await talk.ask("EHLO pump.test\r\n");
    for (let n = 0; !this.#stopped; n++) {
      const key = `${prefix}-${n}`;
      const content = this.#message(key);
      this.sent.set(key, fingerprint(content).hash);
      await talk.ask("MAIL FROM:<pump@example.com>\r\n");
      await talk.ask("RCPT TO:<catch@example.net>\r\n");
      if ((await this.#content(talk, content)).startsWith("250")) this.accepted.add(key);
    }
  }

  async #content(talk: PumpTalk, content: Buffer): Promise<string> {
    if (this.#random() < 0.3) {
      const middle = Math.floor(content.length / 2);
      talk.send(Buffer.from(`BDAT ${middle}\r\n`));
      await talk.ask(content.subarray(0, middle));
      talk.send(Buffer.from(`BDAT ${content.length - middle} LAST\r\n`));
      return await talk.ask(content.subarray(middle));
    }
    if (!(await talk.ask("DATA\r\n")).startsWith("354")) throw new Error("no data wanted");
    talk.send(content);
    return await talk.ask(".\r\n");
  }

  /** Mostly small; no line begins with a dot. */
  #message(key: string): Buffer {
    const lines = Math.floor(
      this.#random() < 0.04 ? 1000 + this.#random() * 6000 : 1 + this.#random() * 40,
    );
    const line = `${key} ${this.#random()} \u00e9 `.padEnd(78, "x");
    const text = `X-Key: ${key}\r\nSubject: pumped\r\n\r\n${`${line}\r\n`.repeat(lines)}`;
    return Buffer.from(text, "latin1");
  }
}

class PumpTalk {
  readonly #socket: Socket;
  #text = "";
  #gone = false;
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.setTimeout(20_000, () => this.#socket.destroy());
    this.#socket.on("data", (chunk: Buffer) => {
      this.#text += chunk.toString("latin1");
      this.#wake();
    });
    const gone = () => {
      this.#gone = true;
      this.#wake();
    };
    for (const event of ["error", "end", "close"]) this.#socket.on(event, gone);
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  async ask(bytes: string | Buffer): Promise<string> {
    this.#socket.write(bytes);
    return await this.reply();
  }

  /** The last line of the next reply. Throws when the server has gone. */
  async reply(): Promise<string> {
    for (;;) {
      const found = /^(?:\d\d\d-.*\r\n)*(\d\d\d .*)\r\n/.exec(this.#text);
      if (found !== null) {
        this.#text = this.#text.slice(found[0].length);
        return found[1] ?? "";
      }
      if (this.#gone) throw new Error("the server has gone");
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
