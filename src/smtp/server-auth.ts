/** AUTH, the server's side: which mechanisms, the exchange, what a failure costs. Pure. Source: RFC 4954, R7.6. */
import type { SaslServer, SaslStep, SaslVerdict, ServerAccounts } from "../core/auth.ts";
import type { ListenerConfig } from "../core/config.ts";
import type { Journal, Peer } from "../core/events.ts";
import {
  BAD_ARGUMENT,
  MISSING_PARAMETER,
  NOT_IMPLEMENTED,
  reply,
  type ServerStep,
} from "./server-reply.ts";

/** The first failure is answered so late, each further one twice as late as the one before. */
const FIRST_DELAY_MS = 250;
/** Later than this never. */
const LAST_DELAY_MS = 30_000;

export interface AuthRules {
  readonly config: Pick<ListenerConfig, "maxAuthFailures">;
  readonly accounts: ServerAccounts;
  readonly journal: Journal;
  /** STARTTLS is there to be used. */
  readonly starttls: boolean;
  /** Nobody logs in without TLS. */
  readonly tlsRequired: boolean;
}

export class ServerAuth {
  readonly #rules: AuthRules;
  readonly #peer: Peer;
  #conversation: SaslServer | null = null;
  #lastId = "";
  #failures = 0;
  /** The mechanism of an exchange that somebody else judges. */
  #judging = "";
  /** Who authenticated; "" for nobody yet. */
  id = "";
  /** Lower case; "none" before the authentication. */
  mechanism = "none";

  constructor(rules: AuthRules, peer: Peer) {
    this.#rules = rules;
    this.#peer = peer;
  }

  /** True while the next line is a response and no command. */
  get expectsResponse(): boolean {
    return this.#conversation !== null;
  }

  get authenticated(): boolean {
    return this.mechanism !== "none";
  }

  /** What EHLO lists. */
  offered(secure: boolean): readonly string[] {
    const { accounts, tlsRequired } = this.#rules;
    if (!accounts.enabled || (tlsRequired && !secure)) return [];
    return accounts.mechanisms(secure);
  }

  /** Forgets who authenticated (EHLO, STARTTLS), not how often it failed. */
  reset(): void {
    this.#conversation = null;
    this.id = "";
    this.mechanism = "none";
  }

  /** What somebody else said about the exchange that has just ended. */
  judged(verdict: SaslVerdict): ServerStep {
    return this.#conclude(this.#judging, verdict);
  }

  /** Ends an exchange whose response was unreadable. */
  cancel(): void {
    this.#conversation = null;
  }

  /** The argument of AUTH. */
  begin(argument: string, secure: boolean): ServerStep {
    const [word = "", initial, ...more] = argument.split(/[ \t]+/);
    const mechanism = word.toUpperCase();
    const refusal = this.#refuse(mechanism, secure);
    if (refusal !== null) return reply(refusal);
    const conversation = this.#rules.accounts.begin(mechanism);
    if (initial === undefined) return this.#step(conversation, conversation.start(null));
    const bytes = initial === "=" ? Buffer.alloc(0) : decodeBase64(initial);
    if (bytes === null || conversation.challengeFirst || more.length > 0) {
      return reply(BAD_ARGUMENT);
    }
    return this.#step(conversation, conversation.start(bytes));
  }

  /** The client's answer to a challenge, as it came. */
  respond(line: Buffer): ServerStep {
    const conversation = this.#conversation;
    this.#conversation = null;
    const text = line.toString("latin1");
    if (conversation === null || text === "*") return reply("501 authentication cancelled");
    const bytes = decodeBase64(text);
    if (bytes === null) return this.#failed(conversation.mechanism, "", "");
    return this.#step(conversation, conversation.next(bytes));
  }

  #refuse(mechanism: string, secure: boolean): string | null {
    const { accounts, starttls } = this.#rules;
    if (!accounts.enabled) return NOT_IMPLEMENTED;
    const offered = this.offered(secure);
    const later = secure ? [] : accounts.mechanisms(true);
    if (offered.length === 0 && later.length === 0) return NOT_IMPLEMENTED;
    if (mechanism === "") return MISSING_PARAMETER;
    if (offered.includes(mechanism)) return null;
    const unsupported = "504 unsupported authentication mechanism";
    if (offered.length === 0 || later.includes(mechanism)) {
      return starttls ? `${unsupported}: use starttls` : unsupported;
    }
    const transition = this.#lastId !== "" && accounts.needsTransition(mechanism, this.#lastId);
    return transition ? `432 ${mechanism} password transition needed` : unsupported;
  }

  #step(conversation: SaslServer, step: SaslStep): ServerStep {
    if (step.kind === "challenge") {
      this.#conversation = conversation;
      return reply(`334 ${step.data.toString("base64")}`);
    }
    if (step.kind !== "pending") return this.#conclude(conversation.mechanism, step);
    this.#judging = conversation.mechanism;
    return { kind: "judge", verdict: step.verdict };
  }

  #conclude(mechanism: string, verdict: SaslVerdict): ServerStep {
    const { journal } = this.#rules;
    switch (verdict.kind) {
      case "accepted":
        this.id = verdict.id;
        this.mechanism = mechanism.toLowerCase();
        journal.tell({ ...verdict, kind: "auth.accepted", peer: this.#peer });
        return reply("235 authentication successful");
      case "refused":
        return this.#failed(mechanism, verdict.id, verdict.detail);
      case "unavailable":
        journal.tell({ ...verdict, kind: "auth.refused", peer: this.#peer });
        return reply("454 temporary authentication failure");
    }
  }

  /** Guessing passwords must not be cheap: later and later, then not at all. */
  #failed(mechanism: string, id: string, given: string): ServerStep {
    const detail = given === "" ? `using mechanism [${mechanism.toLowerCase()}]` : given;
    this.#lastId = id;
    this.#failures += 1;
    this.#rules.journal.tell({ kind: "auth.refused", peer: this.#peer, id, detail });
    const { maxAuthFailures } = this.#rules.config;
    if (maxAuthFailures > 0 && this.#failures >= maxAuthFailures) {
      const text = "421 too many failed authentications";
      return {
        kind: "close",
        reply: text,
        why: "smtp protocol done: too many failed authentications",
      };
    }
    const delayMs = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** (this.#failures - 1));
    return { kind: "late reply", reply: "535 authentication failed", delayMs };
  }
}

/** Strict: Buffer.from() would skip what is no base64. */
function decodeBase64(text: string): Buffer | null {
  const shaped = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  return shaped ? Buffer.from(text, "base64") : null;
}
