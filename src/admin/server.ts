/** The admin server of one instance: a session for each administrator, and events for those who ask. */
import type { Clock } from "../core/clock.ts";
import type { AdminConfig } from "../core/config.ts";
import type { Cause, Control } from "../core/control.ts";
import type { Journal, RelayEvent } from "../core/events.ts";
import { Acceptor } from "../io/acceptor.ts";
import { Announcer } from "./announcer.ts";
import { AdminSession, type SessionHouse } from "./session.ts";

export interface AdminOptions {
  readonly config: AdminConfig;
  /** Group of unix sockets; null: as the process. */
  readonly group: number | null;
  /** What `info version` says. */
  readonly version: string;
  readonly control: Control;
  /** What is told here must reach the subscribers of `control` too: `status` counts these sessions as well. */
  readonly journal: Journal;
  readonly clock: Clock;
}

export interface AdminServer {
  /** As logged: "127.0.0.1:10026", "/run/relayd/admin". */
  addresses(): readonly string[];
  /**
   * Stops accepting, lets each flush that is waited for end, and resolves when all clients are gone.
   * When the signal is aborted, the rest is cut off.
   */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** Clients beyond these are turned away. */
const MAX_SESSIONS = 100;

/** Opens all sockets or none, and counts connections from now on. Throws BIND. */
export async function openAdmin(options: AdminOptions): Promise<AdminServer> {
  const server = new Server(options);
  await server.open();
  return server;
}

class Server implements AdminServer {
  readonly #acceptor: Acceptor;
  readonly #sessions = new Set<AdminSession>();
  readonly #announcer = new Announcer();
  readonly #unsubscribe: () => void;

  constructor({ config, group, version, control, journal, clock }: AdminOptions) {
    const house: SessionHouse = {
      control,
      terminate: config.terminate ? control.terminate : null,
      version,
      journal,
      monotonic: () => clock.monotonic(),
      status: () => [
        ...control.listening().map((address) => `LISTEN: ${address}`),
        ...this.#announcer.network.status(),
      ],
    };
    this.#acceptor = new Acceptor({
      server: "admin",
      port: config.port,
      interfaces: config.interfaces,
      remoteClients: config.remoteClients,
      group,
      connections: { inAll: MAX_SESSIONS, perClient: 0 },
      farewell: { inAll: "error: too many connections\r\n", perClient: "" },
      journal,
      clock,
      receive: (socket, peer, whenGone) => {
        const session = new AdminSession({
          house,
          socket,
          peer,
          whenGone: () => {
            this.#sessions.delete(session);
            whenGone();
          },
        });
        this.#sessions.add(session);
        return session;
      },
    });
    this.#unsubscribe = control.subscribe((event, cause) => this.#announce(event, cause));
  }

  async open(): Promise<void> {
    try {
      await this.#acceptor.open();
    } catch (error) {
      this.#unsubscribe();
      throw error;
    }
  }

  addresses(): readonly string[] {
    return this.#acceptor.addresses();
  }

  async drain(signal: AbortSignal): Promise<void> {
    await this.#acceptor.drain(signal);
    this.#unsubscribe();
  }

  async close(): Promise<void> {
    await this.#acceptor.close();
    this.#unsubscribe();
  }

  #announce(event: RelayEvent, cause: Cause): void {
    for (const words of this.#announcer.take(event, cause)) {
      for (const session of this.#sessions) session.announce(words);
    }
  }
}
