/** From the first byte to "ready for MAIL": greeting, EHLO or HELO, the request for TLS, AUTH. Pure. */

import { assertNever } from "../core/assert-never.ts";
import type { ClientPlan } from "../core/auth.ts";
import { isRefusal, type Reply } from "../core/reply.ts";
import type { Trouble } from "../core/transport.ts";
import { Authentication } from "./client-auth.ts";
import {
  type Conversation,
  connectionTrouble,
  type Extensions,
  isCompletion,
  isGone,
  listen,
  noExtensions,
  parseExtensions,
  type Step,
  say,
  unexpected,
} from "./client-protocol.ts";

export interface GreetingTerms {
  /** Our name in EHLO. */
  readonly domain: string;
  /** How long to wait for the greeting before speaking first; 0 for as long as any reply; null when none will come (after STARTTLS). */
  readonly promptMs: number | null;
  readonly startTls: "never" | "offered" | "required";
  plan(offered: readonly string[] | null): ClientPlan;
  warn(text: string): void;
  /** Told once, with the detail of the mechanism and secret used. */
  authenticated(detail: string): void;
}

export type Greeted =
  | { readonly kind: "ready"; readonly extensions: Extensions; readonly account: string }
  /** The smarthost awaits the TLS handshake; greet it again after that. */
  | { readonly kind: "secure" }
  | { readonly kind: "trouble"; readonly trouble: Trouble };

const NO_TLS = "smtp error: tls is mandated but the server cannot do starttls";

export class Greeting implements Conversation {
  readonly #terms: GreetingTerms;
  #awaits: "greeting" | "ehlo" | "helo" | "starttls" | "auth" = "greeting";
  /** We spoke before the greeting came: it may still come. */
  #greetingDue = false;
  #extensions = noExtensions;
  #authentication: Authentication | null = null;
  #result: Greeted | null = null;

  constructor(terms: GreetingTerms) {
    this.#terms = terms;
  }

  /** How it ended; only after the conversation is done or lost. */
  get result(): Greeted {
    return this.#result ?? { kind: "trouble", trouble: connectionTrouble("peer disconnected") };
  }

  start(): Step {
    const { promptMs } = this.#terms;
    if (promptMs === null) return this.#ehlo();
    return { kind: "listen", forMs: promptMs, instead: () => this.#speakFirst(promptMs) };
  }

  reply(reply: Reply): Step {
    if (reply.code === 421) {
      this.lost(unexpected(reply));
      return { kind: "done", close: true };
    }
    switch (this.#awaits) {
      case "greeting":
        return reply.code === 220 ? this.#ehlo() : this.#trouble(unexpected(reply));
      case "ehlo":
        return this.#afterEhlo(reply);
      case "helo":
        if (this.#isLateGreeting(reply)) return listen;
        return isCompletion(reply) ? this.#authenticate() : this.#trouble(unexpected(reply));
      case "starttls":
        return this.#afterStartTls(reply);
      case "auth":
        return this.#afterAuth(reply);
      default:
        return assertNever(this.#awaits);
    }
  }

  lost(trouble: Trouble): void {
    // Many hosts hang up on who has failed to log in, and some only at the next mechanism.
    const refusal = isGone(trouble) ? this.#authentication?.refusal : null;
    this.#result = { kind: "trouble", trouble: refusal ?? trouble };
  }

  #speakFirst(promptMs: number): Step {
    this.#terms.warn(
      `timeout: no greeting from remote server after ${promptMs / 1000}s: continuing`,
    );
    this.#greetingDue = true;
    return this.#ehlo();
  }

  #ehlo(): Step {
    this.#awaits = "ehlo";
    return say(`EHLO ${this.#terms.domain}`);
  }

  /** A greeting that comes when we have already spoken answers nothing. */
  #isLateGreeting(reply: Reply): boolean {
    const late = this.#greetingDue && reply.code === 220;
    if (late) this.#greetingDue = false;
    return late;
  }

  #afterEhlo(reply: Reply): Step {
    if (this.#isLateGreeting(reply)) return listen;
    if (isCompletion(reply)) {
      this.#extensions = parseExtensions(reply);
      return this.#wantsTls() ?? this.#authenticate();
    }
    if (![500, 501, 502].includes(reply.code)) return this.#trouble(unexpected(reply));
    if (this.#terms.startTls === "required") return this.#tlsTrouble(NO_TLS, null);
    this.#awaits = "helo";
    return say(`HELO ${this.#terms.domain}`);
  }

  #wantsTls(): Step | null {
    if (this.#terms.startTls === "never") return null;
    if (this.#extensions.words.has("STARTTLS")) {
      this.#awaits = "starttls";
      return say("STARTTLS");
    }
    return this.#terms.startTls === "required" ? this.#tlsTrouble(NO_TLS, null) : null;
  }

  #afterStartTls(reply: Reply): Step {
    if (reply.code !== 220) {
      // What is no refusal answers nothing that anybody else has asked.
      const refusal = isRefusal(reply) ? reply : null;
      return this.#tlsTrouble(`tls/ssl error: ${reply.text}`, refusal);
    }
    this.#result = { kind: "secure" };
    return { kind: "done", close: false };
  }

  #authenticate(): Step {
    const plan = this.#terms.plan(this.#extensions.auth);
    switch (plan.kind) {
      case "none":
        return this.#ready("");
      case "error":
        return this.#trouble({
          kind: "authentication",
          connected: true,
          why: plan.why,
          reply: null,
        });
      case "try": {
        this.#awaits = "auth";
        const authentication = new Authentication(plan.attempts, this.#terms.warn);
        this.#authentication = authentication;
        return authentication.start() ?? this.#afterAuth(null);
      }
      default:
        return assertNever(plan);
    }
  }

  #afterAuth(reply: Reply | null): Step {
    const authentication = this.#authentication;
    const step = reply === null ? null : authentication?.reply(reply);
    if (step) return step;
    const used = authentication?.accepted ?? null;
    if (used === null) {
      const trouble = authentication?.trouble ?? connectionTrouble("smtp error: invalid response");
      return this.#trouble(trouble);
    }
    this.#terms.authenticated(used.detail);
    return this.#ready(used.id);
  }

  #ready(account: string): Step {
    this.#result = { kind: "ready", extensions: this.#extensions, account };
    return { kind: "done", close: false };
  }

  #tlsTrouble(why: string, reply: Reply | null): Step {
    return this.#trouble({ kind: "tls", connected: true, why, reply });
  }

  #trouble(trouble: Trouble): Step {
    this.#result = { kind: "trouble", trouble };
    return { kind: "done", close: false };
  }
}
