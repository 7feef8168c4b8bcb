/** Transport over SMTP: one connection to one smarthost, kept from message to message. */

import type { Socket } from "node:net";
import type { ClientAccounts } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import type { ClientConfig } from "../core/config.ts";
import { displayAddress, parseEndpoint, plainIp } from "../core/endpoint.ts";
import type { Envelope } from "../core/envelope.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { Content } from "../core/store.ts";
import type {
  Receipt,
  Smarthost,
  Transport,
  TransportSession,
  Trouble,
} from "../core/transport.ts";
import { Dialogue } from "./client-dialogue.ts";
import { Greeting, type GreetingTerms } from "./client-greeting.ts";
import { framing, leniencies, type MailTerms, mailCommand, unsendable } from "./client-mail.ts";
import { connectionTrouble, type Extensions } from "./client-protocol.ts";
import { type ClientTlsFiles, openClientTls, secure } from "./client-tls.ts";
import { Transaction } from "./client-transaction.ts";
import { connect } from "./connect.ts";

export interface TransportTerms {
  readonly config: ClientConfig;
  readonly recipients: "all" | "some";
  /** Our name for EHLO; without a dot the local address is said instead. */
  readonly domain: string;
  readonly accounts: ClientAccounts;
  readonly journal: Journal;
  readonly clock: Clock;
  /** To share them between transports; opened from the config when not given. */
  readonly tls?: ClientTlsFiles | null;
}

/** Throws TLS_SETUP when the certificates of the config cannot be used. */
export function openTransport(terms: TransportTerms): Transport {
  const { tls } = terms.config;
  const files = terms.tls === undefined ? (tls === null ? null : openClientTls(tls)) : terms.tls;
  return new SmtpTransport(terms, files);
}

interface Live extends TransportSession {
  readonly to: Smarthost;
  readonly dialogue: Dialogue;
  readonly extensions: Extensions;
  /** Messages handed over on this connection. */
  sent: number;
}

class SmtpTransport implements Transport {
  readonly #terms: TransportTerms;
  readonly #tls: ClientTlsFiles | null;
  readonly #warned = new Set<string>();
  /** The session that prepare() made; it may have ended since. */
  #live: Live | null = null;
  /** What prepare() took of the time that the next message may take. */
  #spentMs = 0;

  constructor(terms: TransportTerms, tls: ClientTlsFiles | null) {
    this.#terms = terms;
    this.#tls = tls;
  }

  get session(): TransportSession | null {
    return this.#live;
  }

  async prepare(to: Smarthost, signal: AbortSignal): Promise<Trouble | null> {
    const live = this.#live;
    if (live !== null && sameSmarthost(live.to, to) && live.dialogue.alive) return null;
    await this.quit();
    const started = this.#terms.clock.monotonic();
    try {
      return await new Approach(this.#terms, this.#tls, to, signal).make((made) => {
        this.#live = made;
      });
    } finally {
      this.#spentMs = this.#terms.clock.monotonic() - started;
    }
  }

  async send(envelope: Envelope, content: Content, signal: AbortSignal): Promise<Receipt> {
    const live = this.#live;
    if (live === null) {
      return { kind: "lost", trouble: connectionTrouble("peer disconnected"), unknown: false };
    }
    const reused = live.sent > 0;
    if (reused) this.#told(live);
    const transaction = this.#transaction(live, envelope);
    if (typeof transaction === "string") return { kind: "unsendable", why: transaction };
    await this.#hold(live, transaction, content, signal);
    const { receipt } = transaction;
    // An idle connection is closed by the other side at any time, perhaps just when we speak again.
    // It has not taken notice of the message then, so that is no reason to put it off.
    if (receipt.kind !== "lost" || !reused || transaction.begun || !isGone(receipt.trouble)) {
      return receipt;
    }
    const trouble = await this.prepare(live.to, signal);
    if (trouble !== null) return { kind: "lost", trouble, unknown: false };
    return await this.send(envelope, content, signal);
  }

  async quit(): Promise<void> {
    const live = this.#live;
    this.#live = null;
    await live?.dialogue.quit(this.#terms.config.smtp.linger);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.quit();
  }

  async #hold(
    live: Live,
    transaction: Transaction,
    content: Content,
    signal: AbortSignal,
  ): Promise<void> {
    live.sent += 1;
    const { messageTimeoutMs } = this.#terms.config;
    const budgetMs = messageTimeoutMs > 0 ? Math.max(1, messageTimeoutMs - this.#spentMs) : 0;
    this.#spentMs = 0;
    const overdue = overdueText(messageTimeoutMs);
    await live.dialogue.hold(transaction, { content, budgetMs, overdue, signal });
  }

  #transaction(live: Live, envelope: Envelope): Transaction | string {
    const { config, recipients } = this.#terms;
    const terms: MailTerms = {
      extensions: live.extensions,
      account: live.account,
      anonymous: config.anonymous,
      words: config.smtp,
    };
    const why = unsendable(envelope, terms);
    if (why !== null) return why;
    for (const text of leniencies(envelope, terms)) this.#warnOnce(text);
    return new Transaction({
      mail: mailCommand(envelope, terms),
      recipients: envelope.toRemote,
      forwardTo: recipients,
      framing: framing(envelope, live.extensions),
      pipelining: config.smtp.pipelining && live.extensions.words.has("PIPELINING"),
    });
  }

  /** E-MailRelay names the connection with every message, not only with its first. */
  #told({ peer }: Live): void {
    const text = `smtp connection to ${peer}`;
    this.#terms.journal.tell({ kind: "note", level: "info", detail: false, text });
  }

  #warnOnce(text: string): void {
    if (this.#warned.has(text)) return;
    this.#warned.add(text);
    this.#terms.journal.tell({ kind: "note", level: "warning", detail: false, text });
  }
}

/** The way to a session that is ready for MAIL. */
class Approach {
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
    const address =
      endpoint.kind === "unix" ? endpoint.path : displayAddress(peer.address, peer.port);
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
      return result.trouble;
    }
    if (result.kind === "ready") {
      const { extensions, account } = result;
      ready({
        to: this.#to,
        dialogue,
        extensions,
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
    const local = peer.address === "/" ? "/" : plainIp(line.socket.localAddress ?? "");
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

interface Wire {
  readonly socket: Socket;
  readonly tls: string;
  readonly peer: Peer;
  /** As the session's peer is shown. */
  readonly address: string;
  readonly promptMs: number | null;
}

const sameSmarthost = (one: Smarthost, other: Smarthost): boolean =>
  one.address === other.address && one.account === other.account;

const unconnected = (why: string): Trouble => ({
  kind: "connection",
  connected: false,
  why,
  reply: null,
});

const overdueText = (ms: number): string => `smtp error: message timeout after ${ms / 1000}s`;

/** The peer has closed, or announced it. */
const isGone = ({ why, reply }: Trouble): boolean =>
  reply?.code === 421 || why === "peer disconnected";
