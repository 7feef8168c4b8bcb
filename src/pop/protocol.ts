/**
 * The dialogue as a state machine without sockets: a command line goes in, what to say and do comes out.
 * Source: RFC 1939, RFC 2449, RFC 2595, RFC 5034, R15 (the texts are E-MailRelay's).
 */
import { ShownLines } from "../auth/shown-lines.ts";
import type { SaslVerdict } from "../core/auth.ts";
import type { Peer } from "../core/events.ts";
import { Login, type LoginRules } from "./login.ts";
import { type MailMessage, uidOf } from "./maildrop.ts";
import { ERROR, OK, type PopStep, reply } from "./step.ts";

/** Longest line in bytes: AUTH and its responses may be long (RFC 4954 4.5.3 has the same figure). */
export const MAX_LINE_BYTES = 12288;
/** Mistakes that no working client makes, until the session ends. */
const MAX_ERRORS = 30;

const BAD_ID = "-ERR invalid id";
const DONE = "pop protocol done";

export interface PopRules extends LoginRules {
  /** What clients delete stays. */
  readonly noDelete: boolean;
}

interface Command {
  /** Upper case. */
  readonly verb: string;
  /** What follows the first blank, as latin1. */
  readonly argument: string;
}

/** A message and its number, which starts at 1 (RFC 1939 5). */
interface Numbered {
  readonly number: number;
  readonly message: MailMessage;
}

export class PopProtocol {
  readonly #rules: PopRules;
  readonly #login: Login;
  readonly #shown = new ShownLines();
  /** null until somebody has logged in. */
  #messages: readonly MailMessage[] | null = null;
  /** Numbers. */
  readonly #deleted = new Set<number>();
  #errors = 0;

  constructor(rules: PopRules, peer: Peer) {
    this.#rules = rules;
    this.#login = new Login(rules, peer);
  }

  greeting(): string {
    const challenge = this.#login.challenge();
    return `+OK POP3 server ready${challenge === null ? "" : ` ${challenge}`}`;
  }

  get loggedIn(): boolean {
    return this.#messages !== null;
  }

  get secure(): boolean {
    return this.#login.secure;
  }

  /** A line without its end. */
  command(line: Buffer): PopStep {
    if (this.#login.expectsResponse) return this.#login.respond(line);
    const command = parseCommand(line);
    switch (command.verb) {
      case "CAPA":
        return { kind: "list", text: "+OK capability list follows", lines: this.#capabilities() };
      case "QUIT":
        return this.#quit();
    }
    const step =
      this.#messages === null
        ? this.#authorization(command)
        : this.#transaction(command, this.#messages);
    return step ?? this.#error();
  }

  lineTooLong(): PopStep {
    return { kind: "close", text: "-ERR line too long", why: `${DONE}: line too long` };
  }

  /** The line as the log may show it; to be asked before `command()`, of each line or of none. */
  describe(line: Buffer): string {
    return this.#login.expectsResponse ? this.#shown.response() : this.#shown.command(line);
  }

  /** What somebody else said about a login. */
  judged(verdict: SaslVerdict): PopStep {
    return this.#login.judged(verdict);
  }

  /** The answer to "log in": the messages, or null when the maildrop cannot be used. */
  opened(messages: readonly MailMessage[] | null): PopStep {
    this.#messages = messages;
    return reply(messages === null ? "-ERR cannot open the mailbox" : OK);
  }

  /** The answer to "remove": whether all of it is done. */
  removed(complete: boolean): PopStep {
    const text = complete ? "+OK signing off" : "-ERR some deleted messages not removed";
    return { kind: "close", text, why: DONE };
  }

  /** The TLS handshake is done. */
  secured(): void {
    this.#login.secured();
  }

  #capabilities(): readonly string[] {
    const { stls } = this.#rules;
    const mechanisms = this.#login.offered();
    return [
      ...(this.#login.takesPasswords ? ["USER"] : []),
      ...["CAPA", "TOP", "UIDL"],
      ...(stls && !this.secure && this.#messages === null ? ["STLS"] : []),
      ...(mechanisms.length > 0 ? [`SASL ${mechanisms.join(" ")}`] : []),
    ];
  }

  #authorization({ verb, argument }: Command): PopStep | null {
    switch (verb) {
      case "USER":
        return this.#login.user(withoutBlanks(argument));
      case "PASS":
        return this.#login.pass(argument);
      case "APOP":
        return this.#login.apop(withoutBlanks(argument));
      case "AUTH":
        return this.#login.auth(withoutBlanks(argument));
      case "STLS":
        return this.#rules.stls && !this.secure && withoutBlanks(argument) === ""
          ? { kind: "start tls", text: OK }
          : null;
      default:
        return null;
    }
  }

  #transaction(command: Command, messages: readonly MailMessage[]): PopStep | null {
    const words = command.argument.split(" ").filter((word) => word !== "");
    switch (command.verb) {
      case "STAT":
        return reply(`+OK ${this.#totals(messages)}`);
      case "LIST":
        return this.#list(messages, words, ({ size }) => String(size));
      case "UIDL":
        return this.#list(messages, words, uidOf);
      case "RETR":
        return this.#retrieve(messages, words);
      case "TOP":
        return this.#top(messages, words);
      case "DELE":
        return this.#delete(messages, words);
      case "RSET":
        this.#deleted.clear();
        return reply(OK);
      case "NOOP":
        return reply(OK);
      default:
        return null;
    }
  }

  /** An answer that counts: the last one ends the session. */
  #error(): PopStep {
    this.#errors += 1;
    if (this.#errors < MAX_ERRORS) return reply(ERROR);
    const why = `${DONE}: too many protocol errors from the client`;
    return { kind: "close", text: "-ERR too many errors", why };
  }

  #quit(): PopStep {
    const messages = this.#messages ?? [];
    const chosen = [...this.#deleted].sort((a, b) => a - b);
    const marked = chosen.flatMap((number) => messages[number - 1] ?? []);
    if (marked.length === 0 || this.#rules.noDelete) return this.removed(true);
    return { kind: "remove", messages: marked };
  }

  #totals(messages: readonly MailMessage[]): string {
    let count = 0;
    let size = 0;
    for (const { message } of this.#kept(messages)) {
      count += 1;
      size += message.size;
    }
    return `${count} ${size}`;
  }

  *#kept(messages: readonly MailMessage[]): Generator<Numbered> {
    for (const [index, message] of messages.entries()) {
      if (!this.#deleted.has(index + 1)) yield { number: index + 1, message };
    }
  }

  #list(
    messages: readonly MailMessage[],
    [word, ...more]: readonly string[],
    show: (message: MailMessage) => string,
  ): PopStep {
    if (word === undefined) {
      const text = `+OK ${messages.length - this.#deleted.size} message(s)`;
      return { kind: "list", text, lines: shown(this.#kept(messages), show) };
    }
    const found = more.length > 0 ? null : this.#find(messages, word);
    return reply(found === null ? BAD_ID : `+OK ${found.number} ${show(found.message)}`);
  }

  #retrieve(messages: readonly MailMessage[], [word, ...more]: readonly string[]): PopStep | null {
    if (word === undefined || more.length > 0) return null;
    const found = this.#find(messages, word);
    if (found === null) return reply(ERROR);
    return { kind: "send", message: found.message, bodyLines: Number.POSITIVE_INFINITY };
  }

  #top(
    messages: readonly MailMessage[],
    [word, count = "", ...more]: readonly string[],
  ): PopStep | null {
    if (word === undefined || !/^\d+$/.test(count) || more.length > 0) return null;
    const found = this.#find(messages, word);
    if (found === null) return reply(ERROR);
    // Beyond that every line is wanted anyway, and an infinite number would mean no header either.
    const bodyLines = Math.min(Number(count), Number.MAX_SAFE_INTEGER);
    return { kind: "send", message: found.message, bodyLines };
  }

  #delete(messages: readonly MailMessage[], [word, ...more]: readonly string[]): PopStep | null {
    if (word === undefined || more.length > 0) return null;
    const found = this.#find(messages, word);
    if (found === null) return reply(ERROR);
    this.#deleted.add(found.number);
    return reply(OK);
  }

  #find(messages: readonly MailMessage[], word: string): Numbered | null {
    if (!/^\d+$/.test(word)) return null;
    const number = Number(word);
    const message = messages[number - 1];
    return message === undefined || this.#deleted.has(number) ? null : { number, message };
  }
}

function* shown(
  kept: Iterable<Numbered>,
  show: (message: MailMessage) => string,
): Generator<string> {
  for (const { number, message } of kept) yield `${number} ${show(message)}`;
}

/** Whatever comes: a line without blank is a verb, and most verbs are unknown. */
function parseCommand(line: Buffer): Command {
  const text = line.toString("latin1");
  const blank = text.indexOf(" ");
  if (blank < 0) return { verb: text.toUpperCase(), argument: "" };
  return { verb: text.slice(0, blank).toUpperCase(), argument: text.slice(blank + 1) };
}

/** Not trim(): in latin1 that would take away the last byte of some UTF-8 letters. */
function withoutBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && text[start] === " ") start += 1;
  while (end > start && text[end - 1] === " ") end -= 1;
  return text.slice(start, end);
}
