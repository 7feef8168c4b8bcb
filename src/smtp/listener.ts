/** Accepts SMTP clients on all the listening sockets of one instance, and looks after their sessions. */
import { setMaxListeners } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { ServerAccounts } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import type { ListenerConfig, ServerTls } from "../core/config.ts";
import { plainIp } from "../core/endpoint.ts";
import { describeError } from "../core/errors.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { OpenReception } from "../core/intake.ts";
import type { Verifier } from "../core/verifier.ts";
import { bind, boundAddress, places, type UnixRights } from "./bind.ts";
import { remoteReason } from "./peer.ts";
import type { ServerRules } from "./server-protocol.ts";
import { loadServerKeys, type ServerKeys } from "./server-tls.ts";
import { Session, type SessionHouse } from "./session.ts";

export interface ListenerOptions {
  readonly config: ListenerConfig;
  readonly domain: string;
  /** What the greeting says after "E-MailRelay V". */
  readonly version: string;
  /** Group of unix sockets; null: as the process. */
  readonly group: number | null;
  readonly accounts: ServerAccounts;
  readonly verifier: Verifier;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly openReception: OpenReception;
}

export interface Listener {
  /** As logged: "127.0.0.1:25", "::.25", "/run/smtp". */
  addresses(): readonly string[];
  /** Reads keys and certificates anew, for the handshakes to come. Throws TLS_SETUP, and then the old ones stay. */
  reloadTls(): void;
  /** MAIL gets 421 until `enable()`. */
  disable(): void;
  enable(): void;
  /**
   * Stops accepting, lets each session finish the message in hand, and resolves when all are gone.
   * When the signal is aborted, the rest is cut off.
   */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** Clients beyond these get 421. */
const MAX_SESSIONS = 2000;
const TICK_MS = 1000;
/** A lack of descriptors is told so often at most. */
const COMPLAIN_MS = 60_000;

/** Opens all sockets or none. Throws BIND and TLS_SETUP. */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const listener = new SmtpListener(options);
  try {
    await listener.bind();
  } catch (error) {
    await listener.close();
    throw error;
  }
  return listener;
}

class SmtpListener implements Listener {
  readonly #options: ListenerOptions;
  readonly #servers: Server[] = [];
  readonly #sessions = new Set<Session>();
  readonly #end = new AbortController();
  readonly #rules: ServerRules & { enabled: boolean };
  readonly #house: SessionHouse & { keys: ServerKeys | null };
  /** Called when the last session is gone. */
  #whenEmpty: (() => void) | null = null;
  #complained = Number.NEGATIVE_INFINITY;

  constructor(options: ListenerOptions) {
    const { config, domain, version, accounts, journal, verifier, clock } = options;
    this.#options = options;
    this.#rules = {
      config,
      domain,
      version,
      accounts,
      journal,
      starttls: config.tls?.mode === "starttls",
      tlsRequired: config.tls?.required === true,
      enabled: true,
    };
    const keys = config.tls === null ? null : loadServerKeys(config.tls);
    const { signal } = this.#end;
    // Every message in progress listens to it.
    setMaxListeners(0, signal);
    this.#house = { rules: this.#rules, verifier, clock, keys, signal };
  }

  async bind(): Promise<void> {
    const { config, journal, clock } = this.#options;
    const warn = (text: string) =>
      journal.tell({ kind: "note", level: "warning", detail: false, text });
    for (const place of places(config.interfaces, warn)) {
      const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
        this.#accept(socket, server),
      );
      this.#servers.push(server);
      if (!(await bind(server, place, config.port, this.#unixRights()))) this.#servers.pop();
      server.on("error", (error) => this.#acceptFailed(error));
    }
    this.#tick(clock).catch((error: unknown) => {
      if (!this.#end.signal.aborted) throw error;
    });
  }

  addresses(): readonly string[] {
    return this.#servers.map(boundAddress);
  }

  reloadTls(): void {
    const tls: ServerTls | null = this.#options.config.tls;
    if (tls !== null) this.#house.keys = loadServerKeys(tls);
  }

  disable(): void {
    this.#rules.enabled = false;
  }

  enable(): void {
    this.#rules.enabled = true;
  }

  async drain(signal: AbortSignal): Promise<void> {
    const closed = this.#stopAccepting();
    for (const session of this.#sessions) session.drain();
    const cut = () => this.#cutOff();
    if (signal.aborted) cut();
    signal.addEventListener("abort", cut, { once: true });
    await this.#empty();
    await closed;
    signal.removeEventListener("abort", cut);
    this.#end.abort();
  }

  async close(): Promise<void> {
    const closed = this.#stopAccepting();
    this.#cutOff();
    await this.#empty();
    await closed;
  }

  #cutOff(): void {
    this.#end.abort();
    for (const session of this.#sessions) session.destroy();
  }

  async #stopAccepting(): Promise<void> {
    const closing = this.#servers.splice(0).map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
        }),
    );
    await Promise.all(closing);
  }

  async #empty(): Promise<void> {
    if (this.#sessions.size === 0) return;
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
    const why = this.#options.config.remoteClients ? null : remoteReason(peer.address);
    if (why !== null) {
      this.#refuse(peer, why);
      socket.on("error", ignore);
      socket.destroy();
    } else if (this.#sessions.size >= MAX_SESSIONS) {
      this.#refuse(peer, `too many connections: ${MAX_SESSIONS}`);
      socket.on("error", ignore);
      socket.end("421 4.3.2 too many connections\r\n", () => socket.destroy());
    } else {
      this.#open(socket, peer);
    }
  }

  #open(socket: Socket, peer: Peer): void {
    const session: Session = new Session({
      house: this.#house,
      socket,
      peer,
      reception: this.#options.openReception(peer),
      whenGone: () => this.#gone(session),
    });
    this.#sessions.add(session);
    session.start();
  }

  #gone(session: Session): void {
    this.#sessions.delete(session);
    if (this.#sessions.size > 0) return;
    this.#whenEmpty?.();
    this.#whenEmpty = null;
  }

  #refuse(peer: Peer, why: string): void {
    this.#options.journal.tell({ kind: "session.refused", server: "smtp", peer, why });
  }

  /** One timer for the deadlines of all sessions. */
  async #tick(clock: Clock): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      await clock.sleep(TICK_MS, signal);
      const now = clock.monotonic();
      for (const session of this.#sessions) session.check(now);
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

function ignore(): void {
  // The connection is given up anyway.
}
