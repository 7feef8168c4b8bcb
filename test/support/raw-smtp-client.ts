/** A raw SMTP client for tests: sends bytes exactly as told, and reads replies line by line. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";

const PATIENCE_MS = 10_000;

export class RawClient implements AsyncDisposable {
  #socket: Socket;
  #text = "";
  #closed = false;
  #wake: (() => void) | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen(socket);
  }

  /** "127.0.0.1:2525" or a socket path. Does not wait for the greeting. */
  static async connect(address: string): Promise<RawClient> {
    const [, host = "", port = ""] = /^(.*)[:.](\d+)$/.exec(address) ?? [];
    const options = address.startsWith("/")
      ? { path: address }
      : { host: host === "0.0.0.0" ? "127.0.0.1" : host, port: Number(port) };
    const socket = connect({ ...options, noDelay: true, allowHalfOpen: true });
    const client = new RawClient(socket);
    await once(socket, "connect");
    return client;
  }

  get socket(): Socket {
    return this.#socket;
  }

  send(bytes: string | Buffer): void {
    this.#socket.write(typeof bytes === "string" ? Buffer.from(bytes, "utf8") : bytes);
  }

  /** The next line without CRLF; "<<EOF>>" when the server has closed. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf("\r\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return line;
      }
      if (this.#closed) return this.#text === "" ? "<<EOF>>" : this.#text;
      await this.#more();
    }
  }

  /** One whole reply, lines joined by LF. */
  async reply(): Promise<string> {
    const lines = [await this.line()];
    while (/^\d{3}-/.test(lines[lines.length - 1] ?? "")) lines.push(await this.line());
    return lines.join("\n");
  }

  /** Sends a line and waits for the reply. */
  async ask(line: string): Promise<string> {
    this.send(`${line}\r\n`);
    return await this.reply();
  }

  /** Everything until the server closes. */
  async rest(): Promise<string> {
    while (!this.#closed) await this.#more();
    const text = this.#text;
    this.#text = "";
    return text;
  }

  /** Closes our sending side. */
  half(): void {
    this.#socket.end();
  }

  /** Vanishes. */
  destroy(): void {
    this.#socket.resetAndDestroy();
  }

  async startTls(options: ConnectionOptions = {}): Promise<void> {
    const plain = this.#socket;
    for (const event of ["data", "end", "close"]) plain.removeAllListeners(event);
    plain.on("close", () => this.#gone());
    const encrypted = connectTls({ rejectUnauthorized: false, ...options, socket: plain });
    await once(encrypted, "secureConnect");
    this.#socket = encrypted;
    this.#text = "";
    this.#listen(encrypted);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.closed) return;
    const closed = once(this.#socket, "close");
    this.#socket.destroy();
    await closed;
  }

  #listen(socket: Socket): void {
    socket.on("data", (chunk: Buffer) => {
      this.#text += chunk.toString("utf8");
      this.#wake?.();
    });
    for (const event of ["end", "close", "error"]) socket.on(event, () => this.#gone());
  }

  #gone(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`No answer; so far: ${JSON.stringify(this.#text)}`)),
        PATIENCE_MS,
      );
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }
}
