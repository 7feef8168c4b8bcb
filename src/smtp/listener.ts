/** The SMTP server of one instance: its rules, its keys, and a session for each client. */
import { setMaxListeners } from "node:events";
import type { ServerAccounts } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import type { ListenerConfig, ServerTls } from "../core/config.ts";
import type { Journal } from "../core/events.ts";
import type { OpenReception } from "../core/intake.ts";
import type { SessionVerifier } from "../core/verifier.ts";
import { Acceptor } from "../io/acceptor.ts";
import { loadServerKeys, type ServerKeys } from "../io/server-tls.ts";
import type { ServerRules } from "./server-protocol.ts";
import { type Gate, Session, type SessionHouse } from "./session.ts";

export interface ListenerOptions {
  readonly config: ListenerConfig;
  readonly domain: string;
  /** What the greeting says after "E-MailRelay V". */
  readonly version: string;
  /** Group of unix sockets; null: as the process. */
  readonly group: number | null;
  readonly accounts: ServerAccounts;
  /** Called at a session's first question; disposed of with the session. */
  readonly openVerifier: () => SessionVerifier;
  /** null: everybody comes in. */
  readonly gate: Gate | null;
  readonly journal: Journal;
  readonly clock: Clock;
  /** Whether a message of this size may be stored now; otherwise MAIL gets 452. Absent: always. */
  readonly hasRoom?: (bytes: number) => boolean;
  readonly openReception: OpenReception;
}

export interface Listener {
  /** As logged: "127.0.0.1:25", ":::25", "/run/smtp". */
  addresses(): readonly string[];
  /** Reads keys and certificates anew, for the handshakes to come. Throws TLS_SETUP, and then the old ones stay. */
  reloadTls(): void;
  /** While it is false, greeting and MAIL are 421, also for sessions that have begun before. */
  enable(enabled: boolean): void;
  /**
   * Stops accepting, lets each session finish the message in hand, and resolves when all are gone.
   * When the signal is aborted, the rest is cut off.
   */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** Said to clients beyond the limits. */
const FAREWELL = {
  inAll: "421 4.3.2 too many connections\r\n",
  perClient: "421 4.7.0 too many connections from your address\r\n",
};
/** Who waits for a handshake understands no reply. */
const NO_FAREWELL = { inAll: "", perClient: "" };

/** Opens all sockets or none. Throws BIND and TLS_SETUP. */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const listener = new SmtpListener(options);
  await listener.open();
  return listener;
}

class SmtpListener implements Listener {
  readonly #tls: ServerTls | null;
  readonly #acceptor: Acceptor;
  /** Ends messages in hand. */
  readonly #end = new AbortController();
  readonly #rules: ServerRules & { enabled: boolean };
  readonly #house: SessionHouse & { keys: ServerKeys | null };

  constructor(options: ListenerOptions) {
    const { config, domain, version, accounts, journal, openVerifier, gate, clock } = options;
    this.#tls = config.tls;
    this.#rules = {
      config,
      domain,
      version,
      accounts,
      journal,
      hasRoom: options.hasRoom,
      starttls: config.tls?.mode === "starttls",
      tlsRequired: config.tls?.required === true,
      enabled: true,
    };
    const keys = config.tls === null ? null : loadServerKeys(config.tls);
    const { signal } = this.#end;
    // Every message in progress listens to it.
    setMaxListeners(0, signal);
    this.#house = { rules: this.#rules, openVerifier, gate, clock, keys, signal };
    this.#acceptor = new Acceptor({
      server: "smtp",
      port: config.port,
      interfaces: config.interfaces,
      remoteClients: config.remoteClients,
      group: options.group,
      connections: config.connections,
      farewell: config.tls?.mode === "implicit" ? NO_FAREWELL : FAREWELL,
      journal,
      clock,
      receive: (socket, peer, whenGone) =>
        new Session({
          house: this.#house,
          socket,
          peer,
          reception: options.openReception(peer),
          whenGone,
        }),
    });
  }

  async open(): Promise<void> {
    await this.#acceptor.open();
  }

  addresses(): readonly string[] {
    return this.#acceptor.addresses();
  }

  reloadTls(): void {
    if (this.#tls !== null) this.#house.keys = loadServerKeys(this.#tls);
  }

  enable(enabled: boolean): void {
    this.#rules.enabled = enabled;
  }

  async drain(signal: AbortSignal): Promise<void> {
    const cut = () => this.#end.abort();
    if (signal.aborted) cut();
    signal.addEventListener("abort", cut, { once: true });
    await this.#acceptor.drain(signal);
    signal.removeEventListener("abort", cut);
    cut();
  }

  async close(): Promise<void> {
    this.#end.abort();
    await this.#acceptor.close();
  }
}
