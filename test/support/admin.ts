/** An admin server over a relay that is only pretended, and a client that looks at every byte. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type AdminServer, openAdmin } from "../../src/admin/server.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { AdminConfig } from "../../src/core/config.ts";
import type { Cause, Control, FlushResult } from "../../src/core/control.ts";
import type { Delivery, RelayEvent } from "../../src/core/events.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";

const PATIENCE_MS = 10_000;

/** A relay that remembers what it was asked to do. */
export class FakeControl implements Control {
  waiting: string[] = [];
  bad: string[] = [];
  forwards = true;
  addresses: readonly string[] = [];
  /** What was asked of it: "forward", "dnsbl 10". */
  readonly asked: string[] = [];
  /** Answers the flushes that are under way. */
  readonly flushes: ((result: FlushResult | Error) => void)[] = [];
  terminate: (() => void) | null = () => {
    this.asked.push("terminate");
  };
  readonly listeners = new Set<(event: RelayEvent, cause: Cause) => void>();
  /** Called while the forwarding that was asked for begins. */
  onForward: () => void = () => undefined;

  async list(): Promise<readonly MessageId[]> {
    return this.waiting as MessageId[];
  }

  async failures(): Promise<readonly MessageId[]> {
    return this.bad as MessageId[];
  }

  async unfailAll(): Promise<void> {
    this.waiting = [...this.waiting, ...this.bad].sort();
    this.bad = [];
  }

  forward(): void {
    this.asked.push("forward");
    this.onForward();
  }

  async flush(): Promise<FlushResult> {
    this.asked.push("flush");
    return await new Promise((resolve, reject) => {
      this.flushes.push((result) => {
        if (result instanceof Error) reject(result);
        else resolve(result);
      });
    });
  }

  listening(): readonly string[] {
    return this.addresses;
  }

  enableSmtp(enabled: boolean): void {
    this.asked.push(`smtp ${enabled}`);
  }

  suspendDnsbl(seconds: number): void {
    this.asked.push(`dnsbl ${seconds}`);
  }

  subscribe(listen: (event: RelayEvent, cause: Cause) => void): () => void {
    this.listeners.add(listen);
    return () => this.listeners.delete(listen);
  }

  tell(event: RelayEvent, cause: Cause = "other"): void {
    for (const listen of this.listeners) listen(event, cause);
  }
}

export interface TestAdmin extends AsyncDisposable {
  readonly server: AdminServer;
  readonly control: FakeControl;
  readonly events: RelayEvent[];
  readonly address: string;
  connect(): Promise<AdminClient>;
}

export async function testAdmin(
  changes: Partial<AdminConfig> & { readonly clock?: Clock; readonly control?: FakeControl } = {},
): Promise<TestAdmin> {
  const { clock, control = new FakeControl(), ...config } = changes;
  const events: RelayEvent[] = [];
  const server = await openAdmin({
    config: {
      port: 0,
      interfaces: [{ kind: "address", host: "127.0.0.1" }],
      remoteClients: false,
      terminate: true,
      ...config,
    },
    group: null,
    version: "2.6b",
    control,
    journal: {
      detail: false,
      tell(event) {
        events.push(event);
        control.tell(event);
      },
    },
    clock: clock ?? systemClock,
  });
  const address = server.addresses()[0] ?? "";
  return {
    server,
    control,
    events,
    address,
    connect: async () => await AdminClient.connect(address),
    [Symbol.asyncDispose]: async () => await server.close(),
  };
}

export class AdminClient implements AsyncDisposable {
  readonly socket: Socket;
  #text = "";
  #ended = false;
  #wake: (() => void) | null = null;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#text += chunk.toString("utf8");
      this.#wake?.();
    });
    for (const event of ["end", "close", "error"]) {
      socket.on(event, () => {
        this.#ended = true;
        this.#wake?.();
      });
    }
  }

  static async connect(address: string): Promise<AdminClient> {
    const [host = "", port = ""] = address.split(":");
    const socket = address.startsWith("/")
      ? connect({ path: address, allowHalfOpen: true })
      : connect({ host, port: Number(port), allowHalfOpen: true });
    const client = new AdminClient(socket);
    await once(socket, "connect");
    return client;
  }

  get local(): string {
    return `127.0.0.1:${this.socket.localPort}`;
  }

  send(bytes: string | Buffer): void {
    this.socket.write(bytes);
  }

  /** Resolves when exactly these bytes have come next. */
  async expect(bytes: string): Promise<void> {
    while (this.#text.length < bytes.length && !this.#ended) await this.#more();
    assert.equal(this.#text.slice(0, bytes.length), bytes);
    this.#text = this.#text.slice(bytes.length);
  }

  /** Says a line, CRLF at its end, and looks at what comes back. */
  async ask(line: string, reply: string): Promise<void> {
    this.send(`${line}\r\n`);
    await this.expect(reply);
  }

  /** All that comes until the server closes. */
  async rest(): Promise<string> {
    while (!this.#ended) await this.#more();
    const text = this.#text;
    this.#text = "";
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.closed) return;
    const closed = once(this.socket, "close");
    this.socket.destroy();
    await closed;
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`No answer; so far: ${JSON.stringify(this.#text.slice(-500))}`)),
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

export const PROMPT = "E-MailRelay> ";

const peerOf = (port: number) => ({ address: "127.0.0.1", port });

export const id = (text: string): MessageId => text as MessageId;

/** One finished attempt, as far as administrators see it. */
export function delivery(text: string, peer = "127.0.0.1:17100"): Delivery {
  return {
    from: "a@b",
    to: ["c@d"],
    bytes: 1,
    smarthost: "smarthost:25",
    peer,
    tls: "",
    account: "",
    code: 0,
    text,
    ms: 1,
  };
}

/** The events of a connection to a smarthost. */
export const outgoing = (port: number, local = "127.0.0.1:40000") => {
  const ends = { peer: peerOf(port), local };
  return {
    resolving: { kind: "smarthost.resolving", address: `localhost:${port}` },
    connecting: { kind: "smarthost.connecting", address: `127.0.0.1:${port}` },
    connected: { kind: "smarthost.connected", ...ends },
    disconnected: { kind: "smarthost.disconnected", ...ends },
  } as const satisfies Record<string, RelayEvent>;
};

export const message = (name: string, forwardToAddress = ""): RelayEvent => ({
  kind: "forward.message",
  id: id(name),
  selector: "",
  forwardTo: "",
  forwardToAddress,
});
