/** Logging in: USER and PASS, APOP, AUTH; what a failure costs. Pure. Source: RFC 1939, RFC 5034, R15. */
import type { PopAccounts, SaslServer, SaslStep, SaslVerdict } from "../core/auth.ts";
import type { Journal, Peer } from "../core/events.ts";
import { ERROR, type PopStep, reply } from "./step.ts";

/** The first failure is answered so late, each further one twice as late as the one before. */
const FIRST_DELAY_MS = 250;
/** Later than this never. */
const LAST_DELAY_MS = 30_000;

const NEEDS_TLS = "-ERR must use STLS before authentication";
const NO_PLAIN = "-ERR no SASL PLAIN mechanism to do USER/PASS authentication";
const BAD_INITIAL = "-ERR invalid initial response";
/** Longest name that is repeated to the client. */
const MAX_SHOWN = 200;

export interface LoginRules {
  readonly accounts: PopAccounts;
  readonly journal: Journal;
  /** STLS is there to be used. */
  readonly stls: boolean;
  /** Nobody logs in without TLS. */
  readonly tlsRequired: boolean;
  /** The session ends with this many failures; 0 for no limit. */
  readonly maxAuthFailures: number;
}

export class Login {
  readonly #rules: LoginRules;
  readonly #peer: Peer;
  /** What the greeting held for APOP; null for nothing. */
  #challenge: string | null = null;
  #conversation: SaslServer | null = null;
  /** What USER said. */
  #user: string | null = null;
  #failures = 0;
  /** The mechanism of a login that somebody else judges. */
  #judging = "";
  secure = false;

  constructor(rules: LoginRules, peer: Peer) {
    this.#rules = rules;
    this.#peer = peer;
  }

  /** For the greeting: a challenge if APOP may be used, now or after STLS; else null. */
  challenge(): string | null {
    const { accounts, stls } = this.#rules;
    const offered = this.#offersApop || (stls && accounts.offersApop(true));
    this.#challenge = offered ? accounts.apopChallenge() : null;
    return this.#challenge;
  }

  /** True while the next line is a response and no command. */
  get expectsResponse(): boolean {
    return this.#conversation !== null;
  }

  /** SASL mechanisms that may be used now. */
  offered(): readonly string[] {
    const { accounts, tlsRequired } = this.#rules;
    return tlsRequired && !this.secure ? [] : accounts.mechanisms(this.secure);
  }

  /** True if USER and PASS may be used now: they are PLAIN in other words. */
  get takesPasswords(): boolean {
    return this.offered().includes("PLAIN");
  }

  /** The handshake is done: nothing that was said before it counts (RFC 2595 4), except failures. */
  secured(): void {
    this.secure = true;
    this.#user = null;
    this.#conversation = null;
  }

  user(name: string): PopStep {
    this.#user = null;
    if (!this.takesPasswords) return reply(this.#afterTls("PLAIN") ? NEEDS_TLS : NO_PLAIN);
    if (name === "") return reply(ERROR);
    this.#user = name;
    const shown = name.slice(0, MAX_SHOWN).replace(/[^ -~]/g, "?");
    return reply(`+OK user: ${shown}`);
  }

  /** null when USER is missing. */
  pass(password: string): PopStep | null {
    const name = this.#user;
    this.#user = null;
    if (name === null) return null;
    if (!this.takesPasswords) return reply(NO_PLAIN);
    const plain = this.#rules.accounts.begin("PLAIN");
    return this.#step(plain, plain.start(bytesOf(`\0${name}\0${password}`)));
  }

  /** null when it makes no sense. */
  apop(argument: string): PopStep | null {
    const { accounts } = this.#rules;
    const challenge = this.#challenge;
    if (challenge === null) return null;
    if (!this.#offersApop) return reply(NEEDS_TLS);
    const [, name, digest] = /^(.*[^ ]) +([0-9A-Fa-f]{32})$/s.exec(argument) ?? [];
    if (name === undefined || digest === undefined) return null;
    const proof = { id: bytesOf(name), challenge, digest };
    return this.#conclude("apop", accounts.judgeApop(proof));
  }

  /** The argument of AUTH. */
  auth(argument: string): PopStep {
    const [word = "", initial, ...more] = argument.split(/ +/);
    if (word === "") return { kind: "list", text: "+OK", lines: this.offered() };
    const mechanism = word.toUpperCase();
    if (!this.offered().includes(mechanism)) {
      return reply(this.#afterTls(mechanism) ? NEEDS_TLS : "-ERR invalid mechanism");
    }
    const conversation = this.#rules.accounts.begin(mechanism);
    if (initial === undefined) return this.#step(conversation, conversation.start(null));
    const bytes = initial === "=" ? Buffer.alloc(0) : decodeBase64(initial);
    if (bytes === null || conversation.challengeFirst || more.length > 0) return reply(BAD_INITIAL);
    return this.#step(conversation, conversation.start(bytes));
  }

  /** The client's answer to a challenge, as it came. */
  respond(line: Buffer): PopStep {
    const conversation = this.#conversation;
    this.#conversation = null;
    const text = line.toString("latin1");
    if (conversation === null || text === "*") return reply(ERROR);
    const bytes = decodeBase64(text);
    if (bytes === null) return this.#failed(conversation.mechanism, "", "");
    return this.#step(conversation, conversation.next(bytes));
  }

  /** What somebody else said about the login that has just been tried. */
  judged(verdict: SaslVerdict): PopStep {
    return this.#conclude(this.#judging, verdict);
  }

  get #offersApop(): boolean {
    const { accounts, tlsRequired } = this.#rules;
    return (this.secure || !tlsRequired) && accounts.offersApop(this.secure);
  }

  /** True if it could be used after STLS. */
  #afterTls(mechanism: string): boolean {
    const { accounts, stls } = this.#rules;
    return stls && !this.secure && accounts.mechanisms(true).includes(mechanism);
  }

  #step(conversation: SaslServer, step: SaslStep): PopStep {
    if (step.kind === "challenge") {
      this.#conversation = conversation;
      return reply(`+ ${step.data.toString("base64")}`);
    }
    if (step.kind !== "pending") return this.#conclude(conversation.mechanism, step);
    this.#judging = conversation.mechanism;
    return { kind: "judge", verdict: step.verdict };
  }

  #conclude(mechanism: string, verdict: SaslVerdict): PopStep {
    const { journal } = this.#rules;
    switch (verdict.kind) {
      case "accepted":
        journal.tell({ ...verdict, kind: "auth.accepted", peer: this.#peer });
        return { kind: "log in", id: verdict.id };
      case "refused":
        return this.#failed(mechanism, verdict.id, verdict.detail);
      case "unavailable":
        journal.tell({ ...verdict, kind: "auth.refused", peer: this.#peer });
        return reply("-ERR [SYS/TEMP] temporary authentication failure");
    }
  }

  /** Guessing passwords must not be cheap: later and later, then not at all. */
  #failed(mechanism: string, id: string, given: string): PopStep {
    const detail = given === "" ? `using mechanism [${mechanism.toLowerCase()}]` : given;
    this.#failures += 1;
    this.#rules.journal.tell({ kind: "auth.refused", peer: this.#peer, id, detail });
    const { maxAuthFailures } = this.#rules;
    if (maxAuthFailures > 0 && this.#failures >= maxAuthFailures) {
      const why = "pop protocol done: too many failed authentications";
      return { kind: "close", text: "-ERR too many failed authentications", why };
    }
    const delayMs = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** (this.#failures - 1));
    return { kind: "late reply", text: ERROR, delayMs };
  }
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** Strict: Buffer.from() would skip what is no base64. */
function decodeBase64(text: string): Buffer | null {
  const shaped = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  return shaped ? Buffer.from(text, "base64") : null;
}
