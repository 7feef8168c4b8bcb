/** The way to a session that is ready for MAIL: connection, greeting, TLS, AUTH. */
import type { Socket } from "node:net";
import type { ClientAccounts } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import type { ClientConfig } from "../core/config.ts";
import { displayAddress, type Endpoint, parseEndpoint, plainIp } from "../core/endpoint.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { Smarthost, TransportSession, Trouble } from "../core/transport.ts";
import { Dialogue } from "./client-dialogue.ts";
import { Greeting, type GreetingTerms } from "./client-greeting.ts";
import { connectionTrouble, type Extensions } from "./client-protocol.ts";
import type { HostSkills } from "./client-skills.ts";
import { type ClientTlsFiles, secure } from "./client-tls.ts";
import { connect } from "./connect.ts";

export interface TransportTerms {
  readonly config: ClientConfig;
  readonly recipients: "all" | "some";
  /** Our name for EHLO; without a dot the local address is said instead. */
  readonly domain: string;
  readonly accounts: ClientAccounts;
  readonly journal: Journal;
  readonly clock: Clock;
  /** Mail is never sent there; not given: it may be sent anywhere. */
  readonly isOwnListener?: (far: Endpoint) => boolean;
  /** To share them between transports; opened from the config when not given. */
  readonly tls?: ClientTlsFiles | null;
  /** To share between transports what is known of hosts; each has its own when not given. */
  readonly skills?: HostSkills;
}

/** A session that is ready. */
export interface Live extends TransportSession {
  readonly to: Smarthost;
  readonly dialogue: Dialogue;
  readonly extensions: Extensions;
  /** Messages handed over on this connection. */
  sent: number;
}

interface Wire {
  readonly socket: Socket;
  readonly tls: string;
  readonly peer: Peer;
  /** As the session's peer is shown. */
  readonly address: string;
  readonly promptMs: number | null;
}

/** The way to a session that is ready for MAIL. */
export class Approach {
  readonly #terms: TransportTerms;
  readonly #tls: ClientTlsFiles | null;
  readonly #to: Smarthost;
  readonly #signal: AbortSignal;
  readonly #deadline: number;

  constructor(
    terms: TransportTerms,
    tls: ClientTlsFiles | null,
    to: Smarthost,
    signal: AbortSignal,
  ) {
    this.#terms = terms;
    this.#tls = tls;
    this.#to = to;
    this.#signal = signal;
    this.#deadline = terms.clock.monotonic() + terms.config.messageTimeoutMs;
  }

  async make(ready: (live: Live) => void): Promise<Trouble | null> {
    const { config, journal, clock } = this.#terms;
    const endpoint = parseEndpoint(this.#to.address);
    if (endpoint === null) {
      return unconnected(`connect failure: invalid address: ${this.#to.address}`);
    }
    const made = await connect(endpoint, {
      interface: config.interface,
      timeoutMs: config.connectionTimeoutMs,
      journal,
      clock,
      signal: this.#signal,
    });
    if (made.kind === "failed") return unconnected(made.why);
    const { socket, peer } = made;
    const far = endpoint.kind === "ip" ? { ...endpoint, host: peer.address } : endpoint;
    if (this.#terms.isOwnListener?.(far) === true) {
      socket.destroy();
      return unconnected(`connect failure: ${this.#to.address} is this relay itself`);
    }
    const address = displayAddress(peer.address, peer.port);
    const implicit = config.tls?.mode === "implicit";
    const first = implicit ? await this.#secure(socket, peer) : { socket, tls: "" };
    if ("kind" in first) return first;
    const promptMs = config.promptTimeoutMs;
    return await this.#greet({ ...first, peer, address, promptMs }, ready);
  }

  async #greet(line: Wire, ready: (live: Live) => void): Promise<Trouble | null> {
    const { config, journal } = this.#terms;
    const { socket, peer } = line;
    const dialogue = new Dialogue(socket, { peer, journal, responseMs: config.responseTimeoutMs });
    const greeting = new Greeting(this.#greetingTerms(line));
    const overdue = overdueText(config.messageTimeoutMs);
    await dialogue.hold(greeting, { budgetMs: this.#budgetMs(), overdue, signal: this.#signal });
    const { result } = greeting;
    if (result.kind === "trouble") {
      await dialogue.quit(config.smtp.linger);
      const { trouble } = result;
      return refusedLate(line, dialogue, trouble) ? { ...trouble, kind: "tls" } : trouble;
    }
    if (result.kind === "ready") {
      const { extensions, account } = result;
      ready({
        to: this.#to,
        dialogue,
        extensions,
        dsn: extensions.words.has("DSN"),
        account,
        tls: line.tls,
        peer: line.address,
        sent: 0,
      });
      return null;
    }
    const bare = dialogue.release();
    if (bare === null) {
      dialogue.destroy();
      return this.#tlsTrouble(peer, "STARTTLS: [data received before the handshake]");
    }
    const secured = await this.#secure(bare, peer);
    if ("kind" in secured) return secured;
    // All that was said before is forgotten: it may have come from somebody in between (RFC 3207 4.2).
    return await this.#greet({ ...line, ...secured, promptMs: null }, ready);
  }

  #greetingTerms(line: Wire): GreetingTerms {
    const { config, domain, accounts, journal } = this.#terms;
    const { peer, promptMs } = line;
    const local = peer.address.startsWith("/") ? "/" : plainIp(line.socket.localAddress ?? "");
    const secured = line.tls !== "";
    const required = config.tls?.required === true ? "required" : "offered";
    return {
      domain: domain.includes(".") ? domain : local,
      promptMs,
      startTls: secured || config.tls === null ? "never" : required,
      plan: (offered) => accounts.plan(this.#to.account, offered),
      warn: (text) => this.#warn(text),
      authenticated: (detail) =>
        journal.tell({ kind: "smarthost.authenticated", peer, tls: secured, detail }),
    };
  }

  async #secure(socket: Socket, peer: Peer): Promise<{ socket: Socket; tls: string } | Trouble> {
    const files = this.#tls;
    if (files === null) return this.#tlsTrouble(peer, "[no certificates]");
    const { settings } = files;
    const context = files.context((text) => this.#warn(text));
    const timeoutMs = this.#terms.config.connectionTimeoutMs;
    const secured = await secure(socket, { settings, context }, timeoutMs, this.#signal);
    if (secured.kind === "failed") {
      if (!secured.refused) return connectionTrouble(secured.why);
      return this.#tlsTrouble(peer, `SSL_connect(): [${secured.detail}]`, secured.why);
    }
    const protocol = secured.socket.getProtocol() ?? "";
    const cipher = secured.socket.getCipher().name;
    this.#terms.journal.tell({ kind: "tls.established", peer, protocol, cipher });
    return { socket: secured.socket, tls: `${protocol} ${cipher}` };
  }

  #tlsTrouble(peer: Peer, fact: string, why = "peer disconnected: ssl connect"): Trouble {
    this.#terms.journal.tell({ kind: "tls.failed", peer, why: fact });
    return { kind: "tls", connected: true, why, reply: null };
  }

  #budgetMs(): number {
    if (this.#terms.config.messageTimeoutMs <= 0) return 0;
    return Math.max(1, this.#deadline - this.#terms.clock.monotonic());
  }

  #warn(text: string): void {
    this.#terms.journal.tell({ kind: "note", level: "warning", detail: false, text });
  }
}

/**
 * With TLS 1.3 we are done with the handshake before the smarthost has seen our certificate: one that
 * it does not like ends the connection without a word (R13).
 */
function refusedLate({ tls }: Wire, dialogue: Dialogue, { kind, reply, why }: Trouble): boolean {
  const gone = kind === "connection" && reply === null && why.startsWith("peer disconnected");
  return gone && tls.startsWith("TLSv1.3") && !dialogue.heard;
}

const unconnected = (why: string): Trouble => ({
  kind: "connection",
  connected: false,
  why,
  reply: null,
});

export const overdueText = (ms: number): string =>
  `smtp error: message timeout after ${ms / 1000}s`;
