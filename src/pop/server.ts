/** The POP server of one instance: its rules, its keys, and a session for each client. */
import { setMaxListeners } from "node:events";
import type { PopAccounts } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import type { PopConfig, ServerTls, SpoolConfig } from "../core/config.ts";
import type { Journal } from "../core/events.ts";
import type { MessageId } from "../core/message-id.ts";
import { Acceptor } from "../io/acceptor.ts";
import { loadServerKeys, type ServerKeys } from "../io/server-tls.ts";
import { type PopHouse, PopSession } from "./session.ts";

export interface PopOptions {
  readonly config: PopConfig;
  readonly spool: Pick<SpoolConfig, "directory" | "sync">;
  /** Group of unix sockets; null: as the process. */
  readonly group: number | null;
  readonly accounts: PopAccounts;
  /** Called before a message is removed from the spool directory itself, and when that has failed. */
  readonly noteRemoval: (id: MessageId, kind: "removed" | "kept") => void;
  readonly journal: Journal;
  readonly clock: Clock;
}

export interface PopServer {
  /** As logged: "127.0.0.1:110", ":::110", "/run/pop". */
  addresses(): readonly string[];
  /** Reads keys and certificates anew, for the handshakes to come. Throws TLS_SETUP, and then the old ones stay. */
  reloadTls(): void;
  /**
   * Stops accepting, lets each session finish the command in hand, and resolves when all are gone.
   * When the signal is aborted, the rest is cut off.
   */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** Said to clients beyond the limits. */
const FAREWELL = {
  inAll: "-ERR too many connections\r\n",
  perClient: "-ERR too many connections from your address\r\n",
};
/** Who waits for a handshake understands no reply. */
const NO_FAREWELL = { inAll: "", perClient: "" };

/** Opens all sockets or none. Throws BIND and TLS_SETUP. */
export async function openPop(options: PopOptions): Promise<PopServer> {
  const server = new Server(options);
  await server.open();
  return server;
}

class Server implements PopServer {
  readonly #tls: ServerTls | null;
  readonly #acceptor: Acceptor;
  /** Ends delays. */
  readonly #end = new AbortController();
  readonly #house: PopHouse & { keys: ServerKeys | null };

  constructor({ config, spool, group, accounts, noteRemoval, journal, clock }: PopOptions) {
    const { tls } = config;
    const { signal } = this.#end;
    setMaxListeners(0, signal);
    this.#tls = tls;
    this.#house = {
      rules: {
        accounts,
        journal,
        stls: tls?.mode === "starttls",
        tlsRequired: tls?.required === true,
        noDelete: config.noDelete,
        maxAuthFailures: config.maxAuthFailures,
      },
      spool: spool.directory,
      sync: spool.sync,
      byName: config.byName,
      noteRemoval,
      idleTimeoutMs: config.idleTimeoutMs,
      journal,
      clock,
      keys: tls === null ? null : loadServerKeys(tls),
      implicitTls: tls?.mode === "implicit",
      signal,
    };
    this.#acceptor = new Acceptor({
      server: "pop",
      port: config.port,
      interfaces: config.interfaces,
      remoteClients: config.remoteClients,
      group,
      connections: config.connections,
      farewell: tls?.mode === "implicit" ? NO_FAREWELL : FAREWELL,
      journal,
      clock,
      receive: (socket, peer, whenGone) =>
        new PopSession({ house: this.#house, socket, peer, whenGone }),
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
