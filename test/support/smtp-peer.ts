/**
 * A smarthost that does what a script says, good or bad. One script runs for each connection; what
 * it throws is thrown again by `done()`.
 */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import * as tls from "node:tls";

export type PeerScript = (peer: PeerConnection, index: number) => Promise<void>;

export interface PeerOptions {
  /** Listen on this path instead of a loopback port. */
  readonly path?: string;
  /** Speak TLS from the first byte. */
  readonly implicit?: tls.TlsOptions;
}

export class SmtpPeer implements AsyncDisposable {
  readonly #server: Server;
  readonly #scripts: Promise<void>[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #options: PeerOptions;
  /** Connections so far. */
  connections = 0;

  private constructor(script: PeerScript, options: PeerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      const { implicit } = options;
      const stream = implicit ? new tls.TLSSocket(socket, { isServer: true, ...implicit }) : socket;
      const work = script(new PeerConnection(stream), this.connections - 1);
      work.catch(() => undefined);
      this.#scripts.push(work);
    });
  }

  static async listen(script: PeerScript, options: PeerOptions = {}): Promise<SmtpPeer> {
    const peer = new SmtpPeer(script, options);
    const { path } = options;
    if (path === undefined) peer.#server.listen(0, "127.0.0.1");
    else peer.#server.listen(path);
    await once(peer.#server, "listening");
    return peer;
  }

  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === "object" ? address.port : 0;
  }

  /** As a smarthost is configured. */
  get address(): string {
    return this.#options.path ?? `127.0.0.1:${this.port}`;
  }

  /** Resolves when every script so far has ended; rejects if one failed. */
  async done(): Promise<void> {
    await Promise.all(this.#scripts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await Promise.allSettled(this.#scripts);
    if (this.#options.path !== undefined) rmSync(this.#options.path, { force: true });
  }
}

/** One connection, seen from the smarthost. */
export class PeerConnection {
  #socket: Socket;
  #heard = Buffer.alloc(0);
  #closed = false;
  #more: (() => void) | null = null;
  constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen();
  }

  /** Writes lines with CRLF after each, in one write. */
  say(...lines: readonly string[]): void {
    this.raw(lines.map((line) => `${line}\r\n`).join(""));
  }

  raw(bytes: string | Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  /** The next line without its line end; throws when the client goes away first. */
  async line(): Promise<string> {
    const end = await this.#until(() => this.#heard.indexOf("\r\n"));
    const line = this.#heard.toString("utf8", 0, end);
    this.#heard = this.#heard.subarray(end + 2);
    return line;
  }

  /** Waits for exactly this line. */
  async expect(wanted: string | RegExp): Promise<string> {
    const line = await this.line();
    const fits = typeof wanted === "string" ? line === wanted : wanted.test(line);
    if (!fits) throw new Error(`The client said "${line}" instead of "${wanted}"`);
    return line;
  }

  /** Expects and answers. */
  async answer(wanted: string | RegExp, ...reply: readonly string[]): Promise<string> {
    const line = await this.expect(wanted);
    this.say(...reply);
    return line;
  }

  /** Greeting and EHLO with these extension lines. */
  async greet(...extensions: readonly string[]): Promise<void> {
    this.say("220 peer.test ready");
    await this.expect(/^EHLO /);
    const lines = ["peer.test", ...extensions];
    this.say(...lines.map((line, at) => `250${at === lines.length - 1 ? " " : "-"}${line}`));
  }

  /** Takes MAIL, any RCPTs and DATA, up to and with the content; answers all but the last dot. */
  async message(): Promise<string> {
    for (;;) {
      const line = await this.line();
      if (line === "DATA") break;
      this.say("250 ok");
    }
    this.say("354 go on");
    return await this.content();
  }

  /** Everything up to the final dot, as it came (dots still doubled). */
  async content(): Promise<string> {
    const end = await this.#until(() => {
      const empty = this.#heard.subarray(0, 3).toString() === ".\r\n";
      return empty ? 0 : this.#heard.indexOf("\r\n.\r\n");
    });
    if (end === 0) {
      this.#heard = this.#heard.subarray(3);
      return "";
    }
    const content = this.#heard.toString("latin1", 0, end + 2);
    this.#heard = this.#heard.subarray(end + 5);
    return content;
  }

  /** Exactly so many bytes. */
  async bytes(count: number): Promise<Buffer> {
    await this.#until(() => (this.#heard.length >= count ? 0 : -1));
    const bytes = Buffer.from(this.#heard.subarray(0, count));
    this.#heard = this.#heard.subarray(count);
    return bytes;
  }

  /** The server's side of the handshake; false if it failed. */
  async startTls(options: tls.TlsOptions): Promise<boolean> {
    this.#socket.removeAllListeners("data");
    const secured = new tls.TLSSocket(this.#socket, { isServer: true, ...options });
    const ok = await new Promise<boolean>((resolve) => {
      secured.once("secure", () => {
        this.peerName = String(secured.getPeerCertificate().subject?.CN ?? "");
        resolve(true);
      });
      secured.once("close", () => resolve(false));
      secured.on("error", () => resolve(false));
    });
    this.#socket = secured;
    this.#heard = Buffer.alloc(0);
    this.#listen();
    return ok;
  }

  /** One byte at a time until the client goes away. */
  async drip(text: string, everyMs = 10): Promise<void> {
    while (!this.#closed) {
      for (const byte of Buffer.from(text)) {
        if (this.#closed) return;
        this.raw(Buffer.from([byte]));
        await new Promise((resolve) => setTimeout(resolve, everyMs));
      }
    }
  }

  /** Reads no more. */
  stall(): void {
    this.#socket.pause();
  }

  close(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** True when the client has gone. */
  get left(): boolean {
    return this.#closed;
  }

  /** Resolves when the client has gone. */
  async gone(): Promise<void> {
    while (!this.#closed) await this.#wait();
  }

  /** Common name of the client's certificate; "" when it showed none. */
  peerName = "";

  /** Bytes that have come and nobody has asked for. */
  get rest(): string {
    return this.#heard.toString("latin1");
  }

  #listen(): void {
    this.#socket.on("data", (chunk: Buffer) => {
      this.#heard = Buffer.concat([this.#heard, chunk]);
      this.#more?.();
    });
    const closed = (): void => {
      this.#closed = true;
      this.#more?.();
    };
    this.#socket.on("end", closed).on("close", closed).on("error", closed);
  }

  async #until(find: () => number): Promise<number> {
    for (;;) {
      const at = find();
      if (at >= 0) return at;
      if (this.#closed) throw new Error(`The client went away after "${this.rest.slice(-200)}"`);
      await this.#wait();
    }
  }

  async #wait(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#more = resolve;
    });
  }
}

/** A smarthost without extensions that takes the first message. */
export async function takesOne(connection: PeerConnection): Promise<void> {
  await connection.greet();
  await connection.message();
  connection.say("250 ok");
}
