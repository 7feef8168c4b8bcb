/** Who may log in here: the mechanisms we offer, and one conversation for each. */
import { randomBytes } from "node:crypto";
import type {
  ApopProof,
  PopAccounts,
  SaslServer,
  SaslStep,
  SaslVerdict,
  Trust,
} from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import type { Journal } from "../core/events.ts";
import { type AuthRules, type MechanismRule, parseAuthConfig, passes } from "./auth-config.ts";
import {
  describeSecret,
  type Judgement,
  judgeApop,
  judgeCram,
  judgePassword,
} from "./credentials.ts";
import { HASHES } from "./hmac-mask.ts";
import { idKey, type Secrets } from "./secrets.ts";
import { openSecretsFile, type SecretsFile } from "./secrets-file.ts";
import { patternsOf } from "./trust-pattern.ts";

export interface ServerAccountsOptions {
  /** null without --server-auth. */
  readonly path: string | null;
  /** Text of --server-auth-config. */
  readonly authConfig: string;
  /** Our own name, for challenges. */
  readonly domain: string;
  /** True if clients can get a secure session here: then passwords are not asked for in clear. */
  readonly tlsAvailable: boolean;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly read: (path: string) => string;
}

export interface OpenServerAccounts extends PopAccounts {
  /** Reads the secrets now. Throws SECRETS_SYNTAX, and then the old ones stay. */
  reload(): void;
}

const PASSWORD_MECHANISMS = ["PLAIN", "LOGIN"];

/** Throws SECRETS_SYNTAX with a text for the operator. */
export function openServerAccounts(options: ServerAccountsOptions): OpenServerAccounts {
  const { path, journal, clock, read } = options;
  const file = path === null ? null : openSecretsFile({ path, journal, clock, read });
  return file === null ? nobody : new FileAccounts(options, file);
}

const nobody: OpenServerAccounts = {
  enabled: false,
  mechanisms: () => [],
  begin: (mechanism) => refusing(mechanism),
  trusted: () => null,
  needsTransition: () => false,
  offersApop: () => false,
  apopChallenge: () => "",
  judgeApop: () => malformed("APOP"),
  reload: () => undefined,
};

class FileAccounts implements OpenServerAccounts {
  readonly enabled = true;
  readonly #options: ServerAccountsOptions;
  readonly #rules: AuthRules;
  readonly #file: SecretsFile;

  constructor(options: ServerAccountsOptions, file: SecretsFile) {
    this.#options = options;
    this.#rules = parseAuthConfig(options.authConfig);
    this.#file = file;
  }

  mechanisms(secure: boolean): readonly string[] {
    const rule = this.#rule(secure);
    const possible = possibleMechanisms(this.#file.current().server, secure);
    const hidden = !secure && this.#options.tlsAvailable && rule.only === null;
    return possible.filter(
      (one) => passes(rule, one) && !(hidden && PASSWORD_MECHANISMS.includes(one)),
    );
  }

  offersApop(secure: boolean): boolean {
    const plain = this.#file.current().server.get("plain");
    return plain !== undefined && passes(this.#rule(secure), "APOP");
  }

  apopChallenge(): string {
    return this.#challenge().toString("latin1");
  }

  judgeApop(proof: ApopProof): SaslVerdict {
    return step(judgeApop(this.#file.current().server, proof));
  }

  begin(mechanism: string): SaslServer {
    const { server } = this.#file.current();
    if (mechanism === "PLAIN") return plainConversation(server);
    if (mechanism === "LOGIN") return loginConversation(server);
    return cramConversation(server, mechanism, this.#challenge());
  }

  trusted(ip: string): Trust | null {
    const { trust } = this.#file.current();
    if (trust.size === 0) return null;
    const found = patternsOf(ip).flatMap((pattern) => trust.get(pattern) ?? []);
    return found.sort((a, b) => a.line - b.line)[0] ?? null;
  }

  needsTransition(mechanism: string, id: string): boolean {
    const { server } = this.#file.current();
    const key = idKey(Buffer.from(id, "utf8"));
    const has = (kind: (typeof HASHES)[number] | "plain") => server.get(kind)?.has(key) === true;
    const wanted = HASHES.find((hash) => mechanism === `CRAM-${hash.toUpperCase()}`);
    return wanted !== undefined && !has(wanted) && !has("plain") && HASHES.some(has);
  }

  reload(): void {
    this.#file.reload();
  }

  #rule(secure: boolean): MechanismRule {
    return secure ? this.#rules.secure : this.#rules.insecure;
  }

  /** Never the same twice, so that an answer is good only once (RFC 2195 2). */
  #challenge(): Buffer {
    const random = randomBytes(8).readBigUInt64BE().toString();
    const seconds = Math.floor(this.#options.clock.now() / 1000);
    return Buffer.from(`<${random}.${seconds}@${this.#options.domain}>`);
  }
}

/** What the secrets allow, in the order to offer it. Source: R12.4. */
function possibleMechanisms(secrets: Secrets["server"], secure: boolean): readonly string[] {
  const has = (kind: (typeof HASHES)[number] | "plain") => (secrets.get(kind)?.size ?? 0) > 0;
  const cram = HASHES.filter((hash) => has("plain") || has(hash));
  const names = cram.map((hash) => `CRAM-${hash.toUpperCase()}`);
  if (has("plain")) return [...names, ...PASSWORD_MECHANISMS];
  return names.length === 0 && secure ? ["PLAIN"] : names;
}

/** RFC 4616. An authorisation identity must be the one that logs in. */
function plainConversation(secrets: Secrets["server"]): SaslServer {
  const judge = (message: Buffer): SaslStep => {
    const first = message.indexOf(0);
    const second = message.indexOf(0, first + 1);
    if (first < 0 || second < 0 || message.indexOf(0, second + 1) >= 0) return malformed("PLAIN");
    const acting = message.subarray(0, first);
    const id = message.subarray(first + 1, second);
    const password = message.subarray(second + 1);
    const judged = step(judgePassword(secrets, "PLAIN", { id, password }));
    if (acting.length === 0 || acting.equals(id)) return judged;
    return { ...malformed("PLAIN"), id: id.toString("utf8") };
  };
  return {
    mechanism: "PLAIN",
    challengeFirst: false,
    start: (initial) =>
      initial === null ? { kind: "challenge", data: Buffer.alloc(0) } : judge(initial),
    next: judge,
  };
}

function loginConversation(secrets: Secrets["server"]): SaslServer {
  let id: Buffer | null = null;
  const takeName = (name: Buffer): SaslStep => {
    id = name;
    return { kind: "challenge", data: Buffer.from("Password:") };
  };
  return {
    mechanism: "LOGIN",
    challengeFirst: false,
    start: (initial) =>
      initial === null ? { kind: "challenge", data: Buffer.from("Username:") } : takeName(initial),
    next: (response) =>
      id === null
        ? takeName(response)
        : step(judgePassword(secrets, "LOGIN", { id, password: response })),
  };
}

/** RFC 2195, with any of our hashes. */
function cramConversation(
  secrets: Secrets["server"],
  mechanism: string,
  challenge: Buffer,
): SaslServer {
  const hash = HASHES.find((one) => mechanism === `CRAM-${one.toUpperCase()}`);
  if (hash === undefined) return refusing(mechanism);
  return {
    mechanism,
    challengeFirst: true,
    start: (initial) =>
      initial === null ? { kind: "challenge", data: challenge } : malformed(mechanism),
    next: (response) => {
      const blank = response.lastIndexOf(0x20);
      if (blank < 0) return malformed(mechanism);
      const id = response.subarray(0, blank);
      const digest = response.toString("latin1", blank + 1);
      return step(judgeCram(secrets, mechanism, { hash, id, challenge, digest }));
    },
  };
}

function refusing(mechanism: string): SaslServer {
  const refuse = () => malformed(mechanism);
  return { mechanism, challengeFirst: false, start: refuse, next: refuse };
}

function step({ accepted, id, detail }: Judgement): SaslVerdict {
  return { kind: accepted ? "accepted" : "refused", id, detail };
}

function malformed(mechanism: string): Extract<SaslStep, { kind: "refused" }> {
  const detail = describeSecret(mechanism, Buffer.alloc(0), undefined);
  return { kind: "refused", id: "", detail };
}
