/** A service for tests that does what a script says with each connection: by lines that end in LF, or by bytes. */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";

export type LineScript = (peer: LinePeerConnection, index: number) => Promise<void>;

export class LinePeer implements AsyncDisposable {
  readonly #server: Server;
  readonly #scripts: Promise<void>[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #path: string | null;
  /** Connections so far. */
  connections = 0;

  private constructor(script: LineScript, path: string | null) {
    this.#path = path;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      this.connections += 1;
      const work = script(new LinePeerConnection(socket), this.connections - 1);
      work.catch(() => undefined);
      this.#scripts.push(work);
    });
  }

  /** On an ephemeral loopback port, or on a path. */
  static async listen(script: LineScript, path: string | null = null): Promise<LinePeer> {
    const peer = new LinePeer(script, path);
    if (path === null) peer.#server.listen(0, "127.0.0.1");
    else peer.#server.listen(path);
    await once(peer.#server, "listening");
    return peer;
  }

  /** As it is configured. */
  get address(): string {
    const address = this.#server.address();
    if (this.#path !== null) return this.#path;
    return typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : "";
  }

  /** Resolves when every script so far has ended; rejects if one failed. */
  async done(): Promise<void> {
    await Promise.all(this.#scripts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await Promise.allSettled(this.#scripts);
    if (this.#path !== null) rmSync(this.#path, { force: true });
  }
}

export class LinePeerConnection {
  readonly socket: Socket;
  #heard = Buffer.alloc(0);
  #closed = false;
  #more: () => void = () => undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    const closed = (): void => {
      this.#closed = true;
      this.#more();
    };
    socket.on("data", (chunk) => {
      this.#heard = Buffer.concat([this.#heard, chunk]);
      this.#more();
    });
    socket.on("end", closed).on("close", closed).on("error", closed);
  }

  /** The next line without its LF; throws when the client goes away first. */
  async line(): Promise<string> {
    await this.#until(() => this.#heard.includes(0x0a));
    const end = this.#heard.indexOf(0x0a);
    const line = this.#heard.toString("utf8", 0, end);
    this.#heard = this.#heard.subarray(end + 1);
    return line;
  }

  async bytes(count: number): Promise<Buffer> {
    await this.#until(() => this.#heard.length >= count);
    const bytes = this.#heard.subarray(0, count);
    this.#heard = this.#heard.subarray(count);
    return bytes;
  }

  say(bytes: string | Buffer): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** Says it, and nothing more. */
  end(bytes: string | Buffer = ""): void {
    this.socket.end(bytes);
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** Resolves when the client has gone. */
  async gone(): Promise<void> {
    while (!this.#closed) await this.#wait();
  }

  async #until(fits: () => boolean): Promise<void> {
    while (!fits()) {
      if (this.#closed) throw new Error(`the client went away after ${this.#heard.length} bytes`);
      await this.#wait();
    }
  }

  async #wait(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#more = resolve;
    });
  }
}

/** An address of the loopback interface where nobody listens. */
export async function deadAddress(): Promise<string> {
  await using peer = await LinePeer.listen(async () => undefined);
  return peer.address;
}
