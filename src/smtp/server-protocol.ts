/**
 * The server's side of the dialogue as a state machine without sockets: a command line goes in, what to
 * say and do comes out. Source: RFC 5321, R7 (the texts are E-MailRelay's).
 */
import { ShownLines } from "../auth/shown-lines.ts";
import type { SaslVerdict } from "../core/auth.ts";
import type { ListenerConfig } from "../core/config.ts";
import type { Envelope } from "../core/envelope.ts";
import type { Journal, Peer } from "../core/events.ts";
import type { Verification } from "../core/verifier.ts";
import type { Encryption } from "../io/server-tls.ts";
import { type Command, parseChunkSize, parseCommand } from "./command.ts";
import { type AuthRules, ServerAuth } from "./server-auth.ts";
import * as say from "./server-reply.ts";
import { reply, type ServerStep } from "./server-reply.ts";
import { ServerTransaction } from "./server-transaction.ts";

/** What is the same for all sessions of a listener. */
export interface ServerRules extends AuthRules {
  readonly config: ListenerConfig;
  readonly domain: string;
  readonly version: string;
  readonly journal: Journal;
  /** False while the operator has disabled SMTP. */
  readonly enabled: boolean;
  /** Whether a message of this size may be stored now; absent: always. */
  readonly hasRoom?: ((bytes: number) => boolean) | undefined;
}

/** Longest line of AUTH in bytes (RFC 4954 4.5.3). */
export const MAX_LINE_BYTES = 12288;

/**
 * start: no EHLO yet. transaction: after MAIL. chunks: after the first BDAT. stuck: a BDAT went wrong,
 * only a fresh start helps.
 */
type State = "start" | "idle" | "transaction" | "chunks" | "stuck";

export class ServerProtocol {
  readonly #rules: ServerRules;
  readonly #peer: Peer;
  readonly #auth: ServerAuth;
  readonly #transaction: ServerTransaction;
  readonly #shown = new ShownLines();
  #state: State = "start";
  /** 500 and 503 answers. */
  #errors = 0;
  /** 5yz answers of the verifier since the last message. */
  #refusals = 0;
  #encryption: Encryption | null = null;
  /** What the client calls itself; "" when it has not said so, or not since the TLS handshake. */
  helo = "";

  constructor(rules: ServerRules, peer: Peer) {
    this.#rules = rules;
    this.#peer = peer;
    this.#auth = new ServerAuth(rules, peer);
    this.#transaction = new ServerTransaction(rules, peer, this.#auth);
  }

  greeting(): string {
    const { config, domain, version, enabled } = this.#rules;
    if (!enabled) return say.NOT_AVAILABLE;
    if (config.anonymous.server) return "220 greeting";
    return `220 ${domain} -- E-MailRelay V${version} -- Service ready`;
  }

  get encryption(): Encryption | null {
    return this.#encryption;
  }

  get authenticated(): boolean {
    return this.#auth.authenticated;
  }

  /** Who authenticated, or the keyword by which the client is trusted; "". */
  get account(): string {
    return this.#transaction.account();
  }

  /** True after a BDAT that was not the last, until the message is complete or given up. */
  get betweenChunks(): boolean {
    return this.#state === "chunks";
  }

  /** True if the client has said that its content need not consist of lines (RFC 3030 3). */
  get binary(): boolean {
    return this.#transaction.body === "binarymime";
  }

  /** A line without its CRLF. */
  command(line: Buffer): ServerStep {
    if (this.#auth.expectsResponse) return this.#auth.respond(line);
    const command = parseCommand(line);
    const { maxCommandBytes } = this.#rules.config;
    if (line.length > maxCommandBytes && command.verb !== "AUTH") return this.lineTooLong();
    return this.#dispatch(command);
  }

  lineTooLong(): ServerStep {
    this.#auth.cancel();
    return this.#error(say.LINE_TOO_LONG);
  }

  /** The line as the log may show it; to be asked before `command()`, of each line or of none. */
  describe(line: Buffer): string {
    return this.#auth.expectsResponse ? this.#shown.response() : this.#shown.command(line);
  }

  /** The verifier's answer to the "verify" step. */
  verified(answer: Verification): ServerStep {
    const step = this.#transaction.verified(answer);
    if (answer.kind !== "refuse" || answer.reply.code < 500) return step;
    this.#refusals += 1;
    const { maxRefusals } = this.#rules.config;
    if (maxRefusals === 0 || this.#refusals < maxRefusals) return step;
    return this.#throwOut("421 4.7.0 too many refused recipients", "too many refused recipients");
  }

  /**
   * The TLS handshake is done: what was said before it is forgotten (RFC 3207 4.2), but that there was an
   * EHLO. A client should send another one; those that do not are heard all the same (R7.7).
   */
  secured(encryption: Encryption): void {
    this.#encryption = encryption;
    this.#auth.reset();
    this.#reset();
    this.helo = "";
  }

  get envelope(): Envelope {
    return this.#transaction.envelope(this.#encryption?.certificate ?? "");
  }

  /** The message has had its reply. */
  contentDone(): void {
    this.#refusals = 0;
    this.#transaction.clear();
    this.#state = "idle";
  }

  /** The octets of a BDAT that is not the last have come. */
  chunkDone(size: number, tooBig: boolean): ServerStep {
    if (!tooBig) return reply(`250 ${size} bytes received`);
    this.#transaction.clear();
    this.#state = "stuck";
    return reply(say.TOO_BIG);
  }

  #dispatch({ verb, argument }: Command): ServerStep {
    switch (verb) {
      case "MAIL":
        return this.#mail(argument);
      case "RCPT":
        return this.#rcpt(argument);
      case "DATA":
        return this.#data(argument);
      case "BDAT":
        return this.#rules.config.smtp.chunking ? this.#bdat(argument) : this.#unknown();
      case "EHLO":
      case "HELO":
        return this.#hello(verb, argument);
      case "QUIT":
        return { kind: "quit", reply: "221 OK" };
      case "RSET":
        this.#reset();
        return reply("250 state reset");
      case "NOOP":
        return reply("250 noop");
      case "HELP":
      case "EXPN":
        return reply(say.NOT_IMPLEMENTED);
      case "VRFY":
        return this.#vrfy(argument);
      case "AUTH":
        return this.#authenticate(argument);
      case "STARTTLS":
        return this.#rules.starttls ? this.#startTls(argument) : this.#unknown();
      default:
        return this.#unknown();
    }
  }

  #unknown(): ServerStep {
    return this.#error(say.UNKNOWN_COMMAND);
  }

  #outOfSequence(): ServerStep {
    return this.#error(say.OUT_OF_SEQUENCE);
  }

  /** An answer that counts: the last one ends the session. */
  #error(text: string): ServerStep {
    this.#errors += 1;
    const { maxErrors } = this.#rules.config;
    if (maxErrors === 0 || this.#errors < maxErrors) return reply(text);
    return this.#throwOut(text, "too many protocol errors from the client");
  }

  #throwOut(text: string, reason: string): ServerStep {
    this.#rules.journal.tell({ kind: "client.misbehaved", peer: this.#peer, reason });
    return { kind: "close", reply: text, why: `smtp protocol done: ${reason}` };
  }

  #reset(): void {
    this.#transaction.clear();
    if (this.#state !== "start") this.#state = "idle";
  }

  #hello(verb: "EHLO" | "HELO", argument: string): ServerStep {
    if (argument === "") return reply(say.MISSING_PARAMETER);
    this.helo = argument;
    this.#transaction.clear();
    this.#state = "idle";
    if (verb === "HELO") return reply("250 hello");
    this.#auth.reset();
    return reply(this.#extensions());
  }

  #extensions(): string {
    const { config, domain, starttls } = this.#rules;
    const { anonymous, maxSizeBytes, smtp } = config;
    const secure = this.#encryption !== null;
    const mechanisms = this.#auth.offered(secure);
    const lines = [`250-${anonymous.server ? "smtp" : domain} says hello`];
    if (maxSizeBytes > 0) lines.push(`250-SIZE ${maxSizeBytes}`);
    if (mechanisms.length > 0) lines.push(`250-AUTH ${mechanisms.join(" ")}`);
    if (starttls && !secure) lines.push("250-STARTTLS");
    if (!anonymous.vrfy) lines.push("250-VRFY");
    if (smtp.chunking) lines.push("250-CHUNKING", "250-BINARYMIME");
    if (smtp.pipelining) lines.push("250-PIPELINING");
    if (smtp.smtputf8) lines.push("250-SMTPUTF8");
    if (config.dsn) lines.push("250-DSN");
    lines.push("250 8BITMIME");
    return lines.join("\r\n");
  }

  #mail(argument: string): ServerStep {
    if (this.#state !== "idle") return this.#outOfSequence();
    const refusal = this.#rules.enabled ? this.#accessRefusal() : say.NOT_AVAILABLE;
    if (refusal !== null) return reply(refusal);
    const answer = this.#transaction.mail(argument);
    if (this.#transaction.open) this.#state = "transaction";
    return reply(answer);
  }

  /** Who may not use MAIL and VRFY (R7.6). */
  #accessRefusal(): string | null {
    const { config, accounts, starttls } = this.#rules;
    const secure = this.#encryption !== null;
    const tlsMissing = config.tls?.required === true && !secure;
    const hint = tlsMissing && starttls ? ": use starttls" : "";
    if (accounts.enabled && !this.#auth.authenticated && !this.#transaction.trusted) {
      return `530 authentication required${hint}`;
    }
    return tlsMissing ? `530 encryption required${hint}` : null;
  }

  #rcpt(argument: string): ServerStep {
    if (this.#state !== "transaction") return this.#outOfSequence();
    return this.#transaction.rcpt(argument);
  }

  #vrfy(argument: string): ServerStep {
    if (this.#state === "chunks" || this.#state === "stuck") return this.#outOfSequence();
    if (this.#rules.config.anonymous.vrfy) return reply("252 cannot vrfy");
    const refusal = this.#accessRefusal();
    return refusal === null ? this.#transaction.vrfy(argument) : reply(refusal);
  }

  #data(argument: string): ServerStep {
    if (this.#state !== "transaction") return this.#outOfSequence();
    if (argument !== "") return reply(say.BAD_ARGUMENT);
    if (this.#transaction.body === "binarymime") return this.#error(say.BINARY_DATA);
    return this.#transaction.hasRecipients
      ? { kind: "data", reply: say.START_INPUT }
      : this.#noRecipients();
  }

  #noRecipients(): ServerStep {
    this.#reset();
    return reply(say.NO_RECIPIENTS);
  }

  /** Whatever is wrong with it: octets that were announced are never read as commands (RFC 3030 2). */
  #bdat(argument: string): ServerStep {
    const chunk = parseChunkSize(argument);
    const size = chunk?.size ?? 0;
    if (this.#state !== "transaction" && this.#state !== "chunks") {
      if (this.#state !== "start") this.#state = "stuck";
      return skip(size, this.#outOfSequence());
    }
    if (!this.#transaction.hasRecipients) return skip(size, this.#noRecipients());
    if (chunk === null || !chunk.valid) {
      this.#transaction.clear();
      this.#state = "stuck";
      return skip(size, reply(say.BAD_ARGUMENT));
    }
    this.#state = "chunks";
    return { kind: "chunk", size, last: chunk.last };
  }

  /** What somebody else said about a login. */
  judged(verdict: SaslVerdict): ServerStep {
    return this.#auth.judged(verdict);
  }

  #authenticate(argument: string): ServerStep {
    if (this.#state !== "idle" || this.#auth.authenticated) return this.#outOfSequence();
    return this.#auth.begin(argument, this.#encryption !== null);
  }

  #startTls(argument: string): ServerStep {
    if (this.#state !== "idle" || this.#encryption !== null) return this.#outOfSequence();
    if (argument !== "") return reply(say.BAD_ARGUMENT);
    return { kind: "start tls", reply: "220 ready to start tls" };
  }
}

function skip(size: number, next: ServerStep): ServerStep {
  return size === 0 ? next : { kind: "skip", size, next };
}
