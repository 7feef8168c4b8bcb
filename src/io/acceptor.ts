/** Accepts connections on all the listening sockets of one server, and looks after them until they are gone. */
import { createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import type { ConnectionLimits, Interface } from "../core/config.ts";
import { plainIp } from "../core/endpoint.ts";
import { describeError } from "../core/errors.ts";
import type { Journal, Peer, ServerKind } from "../core/events.ts";
import { bind, boundAddress, places, type UnixRights } from "./bind.ts";
import { ClientCount } from "./client-count.ts";
import { asRoot } from "./identity.ts";
import { remoteReason } from "./local-peer.ts";
import { type Place, Present } from "./present.ts";

export interface AcceptorOptions {
  readonly server: ServerKind;
  readonly port: number;
  /** Empty: any IPv4 and any IPv6 address. */
  readonly interfaces: readonly Interface[];
  /** False: only clients of local networks are served. */
  readonly remoteClients: boolean;
  /** Group of unix sockets; null: as the process. */
  readonly group: number | null;
  readonly connections: ConnectionLimits;
  /** Said to clients beyond them; "" for nothing. */
  readonly farewell: { readonly inAll: string; readonly perClient: string };
  readonly journal: Journal;
  readonly clock: Clock;
  /** Takes a connection over; `whenGone` is called once, when the socket has closed. */
  readonly receive: (socket: Socket, peer: Peer, whenGone: () => void) => Connection;
}

/** One client's connection, as its acceptor sees it. What is called after it has gone does nothing. */
export interface Connection {
  start(): void;
  /** Called about once a second with the monotonic time, for deadlines. */
  check(now: number): void;
  /** Ends the session as soon as nothing is in hand. */
  drain(): void;
  /** Ends at once. */
  destroy(): void;
}

const TICK_MS = 1000;
/** A lack of descriptors is told so often at most. */
const COMPLAIN_MS = 60_000;

export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #servers: Server[] = [];
  readonly #connections = new Present<Connection>();
  readonly #clients: ClientCount;
  readonly #end = new AbortController();
  /** Called when the last connection is gone. */
  #whenEmpty: (() => void) | null = null;
  #complained = Number.NEGATIVE_INFINITY;

  constructor(options: AcceptorOptions) {
    this.#options = options;
    this.#clients = new ClientCount(options.connections.perClient);
  }

  /** Opens all sockets or none. Throws BIND. */
  async open(): Promise<void> {
    try {
      await this.#bind();
    } catch (error) {
      await this.close();
      throw error;
    }
    const { clock } = this.#options;
    this.#tick(clock).catch((error: unknown) => {
      if (!this.#end.signal.aborted) throw error;
    });
  }

  /** As logged: "127.0.0.1:25", ":::25", "/run/smtp". */
  addresses(): readonly string[] {
    return this.#servers.map(boundAddress);
  }

  /**
   * Stops accepting, lets each connection finish what it has in hand, and resolves when all are
   * gone. When the signal is aborted, the rest is cut off.
   */
  async drain(signal: AbortSignal): Promise<void> {
    const closed = this.#stopAccepting();
    for (const connection of this.#connections) connection.drain();
    const cut = () => this.#cutOff();
    if (signal.aborted) cut();
    signal.addEventListener("abort", cut, { once: true });
    await this.#empty();
    await closed;
    signal.removeEventListener("abort", cut);
    this.#end.abort();
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    const closed = this.#stopAccepting();
    this.#cutOff();
    await this.#empty();
    await closed;
  }

  async #bind(): Promise<void> {
    const { interfaces, port, journal } = this.#options;
    const warn = (text: string) =>
      journal.tell({ kind: "note", level: "warning", detail: false, text });
    for (const place of places(interfaces, warn)) {
      const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
        this.#accept(socket, server),
      );
      this.#servers.push(server);
      if (!(await bind(server, place, port, this.#unixRights()))) this.#servers.pop();
      server.on("error", (error) => this.#acceptFailed(error));
    }
  }

  #cutOff(): void {
    this.#end.abort();
    for (const connection of this.#connections) connection.destroy();
  }

  async #stopAccepting(): Promise<void> {
    const closing = this.#servers.splice(0).map(
      (server) =>
        new Promise<void>((resolve) => {
          // Which removes unix sockets: they were made by root.
          asRoot(() => server.close(() => resolve()));
        }),
    );
    await Promise.all(closing);
  }

  async #empty(): Promise<void> {
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      const before = this.#whenEmpty;
      this.#whenEmpty = () => {
        before?.();
        resolve();
      };
    });
  }

  #accept(socket: Socket, server: Server): void {
    const peer = peerOf(socket, server);
    if (peer === null) {
      socket.on("error", ignore);
      socket.destroy();
      return;
    }
    const { remoteClients, connections, farewell } = this.#options;
    const { inAll, perClient } = connections;
    const why = remoteClients ? null : remoteReason(peer.address, this.#options.server);
    if (why !== null) {
      this.#refuse(peer, why);
      socket.on("error", ignore);
      socket.destroy();
    } else if (this.#connections.size >= inAll) {
      this.#refuse(peer, `too many connections: ${inAll}`);
      turnAway(socket, farewell.inAll);
    } else if (!this.#clients.enter(peer.address)) {
      this.#refuse(peer, `too many connections from one client: ${perClient}`);
      turnAway(socket, farewell.perClient);
    } else {
      this.#receive(socket, peer);
    }
  }

  #receive(socket: Socket, peer: Peer): void {
    const connection = this.#options.receive(socket, peer, () => {
      this.#clients.leave(peer.address);
      this.#gone(place);
    });
    const place = this.#connections.enter(connection);
    connection.start();
  }

  #gone(place: Place<Connection>): void {
    this.#connections.leave(place);
    if (this.#connections.size > 0) return;
    this.#whenEmpty?.();
    this.#whenEmpty = null;
  }

  #refuse(peer: Peer, why: string): void {
    const { journal, server } = this.#options;
    journal.tell({ kind: "session.refused", server, peer, why });
  }

  /** One timer for the deadlines of all connections. */
  async #tick(clock: Clock): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      await clock.sleep(TICK_MS, signal);
      const now = clock.monotonic();
      for (const connection of this.#connections) connection.check(now);
    }
  }

  /** The system drops the connection that could not be accepted; we only say so, and not for each of them. */
  #acceptFailed(error: Error): void {
    const { clock, journal } = this.#options;
    const now = clock.monotonic();
    if (now - this.#complained < COMPLAIN_MS) return;
    this.#complained = now;
    const text = `cannot accept connections: ${describeError(error)}`;
    journal.tell({ kind: "note", level: "error", detail: false, text });
  }

  #unixRights(): UnixRights {
    const { group } = this.#options;
    const keepsRoot = group === null && process.getuid?.() === 0;
    return { mode: keepsRoot ? 0o777 : 0o770, group };
  }
}

/** null when the client is gone already: then it has no address, as every client of a unix socket. */
function peerOf(socket: Socket, server: Server): Peer | null {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress !== undefined)
    return { address: plainIp(remoteAddress), port: remotePort ?? 0 };
  return typeof server.address() === "string" ? { address: "/", port: 0 } : null;
}

function turnAway(socket: Socket, farewell: string): void {
  socket.on("error", ignore);
  socket.end(farewell, () => socket.destroy());
}

function ignore(): void {
  // The connection is given up anyway.
}
