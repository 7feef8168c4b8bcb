/** Reads what --address-verifier names: a program, or something built in. Source: R8. */
import { parseEndpoint } from "../core/endpoint.ts";
import { RelayError } from "../core/errors.ts";

export type VerifierSpec =
  | { readonly kind: "program"; readonly path: string }
  | { readonly kind: "network"; readonly address: string }
  | { readonly kind: "account"; readonly rule: AccountRule }
  | { readonly kind: "accept" };

/** Which system accounts are local recipients, and what becomes of addresses that are none. */
export interface AccountRule {
  readonly minUid: number;
  readonly maxUid: number;
  /** Mailboxes are named in lower case, whatever the account is called. */
  readonly lowercase: boolean;
  /** What is no account is passed on as a remote recipient instead of being refused. */
  readonly check: boolean;
  /** Accounts are remote recipients too. */
  readonly remote: boolean;
}

/** Throws CONFIG_INVALID. */
export function parseVerifierSpec(text: string): VerifierSpec {
  const [, kind, params = ""] = /^([A-Za-z][\w-]*):(.*)$/s.exec(text) ?? [];
  switch (kind) {
    case undefined:
      return program(text);
    case "file":
      return program(params);
    case "exit":
      if (!/^\d{1,9}$/.test(params)) throw invalid(kind, params);
      return { kind: "accept" };
    case "net":
      if (parseEndpoint(params) === null) throw invalid(kind, params);
      return { kind: "network", address: params };
    case "account":
      return { kind: "account", rule: accountRule(params) };
    default:
      throw new RelayError("CONFIG_INVALID", "", `unknown type: ${kind}:`);
  }
}

/** Everything that keeps a verifier from being opened; none when it can be. */
export function verifierFaults(text: string): string[] {
  try {
    parseVerifierSpec(text);
    return [];
  } catch (error) {
    if (error instanceof RelayError) return [error.message];
    throw error;
  }
}

function program(path: string): VerifierSpec {
  if (path === "") throw new RelayError("CONFIG_INVALID", "", "missing program name");
  if (path.startsWith("/")) return { kind: "program", path };
  throw new RelayError("CONFIG_INVALID", "", `not an absolute path: "${path}"`);
}

function invalid(kind: string, params: string): RelayError {
  return new RelayError("CONFIG_INVALID", "", `invalid value for ${kind}: "${params}"`);
}

/** "[<uid>[-<uid>]][;lowercase][;check][;remote]", the words by their first letters too. */
function accountRule(params: string): AccountRule {
  let rule: AccountRule = {
    minUid: 1000,
    maxUid: 32767,
    lowercase: false,
    check: false,
    remote: false,
  };
  for (const word of params.split(";").filter((one) => one !== "")) {
    const name = ACCOUNT_WORDS.find((one) => word === one || word === one.charAt(0));
    const range = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(word);
    if (name !== undefined) rule = { ...rule, [name]: true };
    else if (range === null) throw invalid("account", params);
    else rule = { ...rule, minUid: Number(range[1]), maxUid: Number(range[2] ?? range[1]) };
  }
  if (rule.minUid > rule.maxUid) throw invalid("account", params);
  return rule;
}

const ACCOUNT_WORDS = ["lowercase", "check", "remote"] as const;
