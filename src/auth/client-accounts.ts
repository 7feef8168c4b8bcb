/** Our accounts on smarthosts: which conversations to try, in which order. */
import { createHmac } from "node:crypto";
import type { ClientAccounts, ClientPlan, SaslClient } from "../core/auth.ts";
import type { Clock } from "../core/clock.ts";
import { RelayError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import { type AuthRules, parseAuthConfig, passes } from "./auth-config.ts";
import { decodeBase64 } from "./base64.ts";
import { describeSecret } from "./credentials.ts";
import type { HashName } from "./hash-state.ts";
import { HASHES, hmacFromMask } from "./hmac-mask.ts";
import type { Secret, SecretKind, Secrets } from "./secrets.ts";
import { openSecretsFile } from "./secrets-file.ts";

export interface ClientAccountsOptions {
  /** Path of the secrets file, or "plain:<base64 id>:<base64 password>"; null without --client-auth. */
  readonly secrets: string | null;
  /** Text of --client-auth-config. */
  readonly authConfig: string;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly read: (path: string) => string;
}

export interface OpenClientAccounts extends ClientAccounts {
  /** Reads the secrets now. Throws SECRETS_SYNTAX, and then the old ones stay. */
  reload(): void;
}

type Account = ReadonlyMap<SecretKind, Secret>;

/** Throws SECRETS_SYNTAX with a text for the operator. */
export function openClientAccounts(options: ClientAccountsOptions): OpenClientAccounts {
  const { secrets, journal, clock, read } = options;
  const rules = parseAuthConfig(options.authConfig);
  if (secrets === null) return { plan: () => ({ kind: "none" }), reload: () => undefined };
  if (secrets.startsWith("plain:")) {
    const accounts = inlineAccount(secrets);
    return {
      plan: (selector, offered) => plan(accounts, rules, { selector, offered }),
      reload: () => undefined,
    };
  }
  const file = openSecretsFile({ path: secrets, journal, clock, read });
  return {
    plan: (selector, offered) => plan(file.current().client, rules, { selector, offered }),
    reload: () => file.reload(),
  };
}

/** Reads "plain:<base64 id>:<base64 password>". Throws SECRETS_SYNTAX. */
function inlineAccount(text: string): Secrets["client"] {
  const [, first, second, ...more] = text.split(":");
  const id = decodeBase64(first ?? "-");
  const secret = decodeBase64(second ?? "-");
  if (id === null || secret === null || id.length === 0 || more.length > 0) {
    const wanted = "expected plain:<base64 id>:<base64 password>";
    throw new RelayError(
      "SECRETS_SYNTAX",
      "--client-auth",
      `invalid authorisation secret: invalid base64 encoding: ${wanted}`,
    );
  }
  return new Map([["", new Map([["plain", { kind: "plain", id, secret, line: null }]])]]);
}

/** Source: R12.4. */
function plan(
  accounts: Secrets["client"],
  rules: AuthRules,
  asked: { readonly selector: string; readonly offered: readonly string[] | null },
): ClientPlan {
  const { selector, offered } = asked;
  const account = accounts.get(selector);
  if (account === undefined && selector !== "") {
    return { kind: "error", why: `no client authentication account: selector [${selector}]` };
  }
  if (account === undefined || account.size === 0) return { kind: "none" };
  if (offered === null || offered.length === 0) {
    const why = "smtp error: authentication is not supported by the remote smtp server";
    return { kind: "error", why };
  }
  const listed = new Set(offered.map((name) => name.toUpperCase()));
  const attempts = conversations(account).filter(
    ({ mechanism }) => listed.has(mechanism) && passes(rules.insecure, mechanism),
  );
  if (attempts.length > 0) return { kind: "try", attempts };
  const which = selector === "" ? "" : ` with selector [${selector}]`;
  const hint = `check for a compatible client secret${which}`;
  return { kind: "error", why: `smtp error: cannot do authentication: ${hint}` };
}

/** Every conversation that the account's secrets allow, best first. */
function conversations(account: Account): SaslClient[] {
  const plain = account.get("plain");
  const token = account.get("oauth");
  const cram = HASHES.flatMap((hash) => {
    const secret = account.get(hash) ?? plain;
    return secret === undefined ? [] : [cramConversation(hash, secret)];
  });
  const oauth = token === undefined ? [] : [tokenConversation(token)];
  const passwords = plain === undefined ? [] : [plainConversation(plain), loginConversation(plain)];
  return [...cram, ...oauth, ...passwords];
}

function plainConversation(secret: Secret): SaslClient {
  const zero = Buffer.alloc(1);
  const initial = Buffer.concat([zero, secret.id, zero, secret.secret]);
  return conversation("PLAIN", secret, initial, () => null);
}

/** Some servers ask for the name although they were given it: what is asked for is answered. */
function loginConversation(secret: Secret): SaslClient {
  return conversation("LOGIN", secret, secret.id, (challenge) =>
    /^user/i.test(challenge.toString("latin1")) ? secret.id : secret.secret,
  );
}

/** The token goes out as it is; the challenge after a refused one is an error text, answered with nothing. */
function tokenConversation(secret: Secret): SaslClient {
  return conversation("XOAUTH2", secret, secret.secret, () => Buffer.alloc(0));
}

function cramConversation(hash: HashName, secret: Secret): SaslClient {
  return conversation(`CRAM-${hash.toUpperCase()}`, secret, null, (challenge) => {
    if (challenge.length === 0) return null;
    const digest =
      secret.kind === "plain"
        ? createHmac(hash, secret.secret).update(challenge).digest()
        : hmacFromMask(hash, secret.secret, challenge);
    return Buffer.concat([secret.id, Buffer.from(` ${digest.toString("hex")}`)]);
  });
}

function conversation(
  mechanism: string,
  secret: Secret,
  initial: Buffer | null,
  respond: (challenge: Buffer) => Buffer | null,
): SaslClient {
  const detail = describeSecret(mechanism, secret.id, secret);
  return { mechanism, id: secret.id.toString("utf8"), initial, respond, detail };
}
