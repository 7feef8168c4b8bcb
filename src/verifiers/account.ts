/** Recipients that are accounts of this system: "account:". Source: R8. */
import { RelayError } from "../core/errors.ts";
import type { RecipientQuery, SessionVerifier, Verification } from "../core/verifier.ts";
import type { AccountLookup, SystemAccount } from "./account-lookup.ts";
import type { VerifierTerms } from "./item.ts";
import type { AccountRule } from "./spec.ts";

/** `lookup` may be shared by sessions. */
export function accountVerifier(
  rule: AccountRule,
  lookup: AccountLookup,
  { domain }: VerifierTerms,
): SessionVerifier {
  return {
    async verify(query, signal) {
      const { user, at } = splitAddress(query.recipient);
      if (at === null && user.toLowerCase() === "postmaster") return local("postmaster", domain);
      if (at === null || at.toLowerCase() !== domain.toLowerCase()) {
        return noMatch(rule, query, `[${at ?? ""}] does not match [${domain}]`);
      }
      try {
        const account = await find(user, lookup, signal);
        if (account === null) return noMatch(rule, query, `[${user}] is not a valid account name`);
        return judge(rule, query, account, domain);
      } catch (error) {
        if (!(error instanceof RelayError) || error.code !== "PROGRAM_TIMEOUT") throw error;
        return { kind: "refuse", reply: { code: 450, text: "timeout" }, reason: error.message };
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function judge(
  rule: AccountRule,
  query: RecipientQuery,
  { name, uid }: SystemAccount,
  domain: string,
): Verification {
  const { minUid, maxUid } = rule;
  if (uid < minUid || uid > maxUid) {
    return noMatch(rule, query, `uid ${uid} is not in the range ${minUid}-${maxUid}`);
  }
  if (rule.remote) return { kind: "remote", address: query.recipient };
  return local(rule.lowercase ? name.toLowerCase() : name, domain);
}

/** Account names differ in case; addresses of people mostly do not mean to. */
async function find(
  user: string,
  lookup: AccountLookup,
  signal: AbortSignal,
): Promise<SystemAccount | null> {
  const lower = user.toLowerCase();
  const account = await lookup(user, signal);
  return account !== null || lower === user ? account : await lookup(lower, signal);
}

function splitAddress(address: string): { user: string; at: string | null } {
  const i = address.lastIndexOf("@");
  return i < 0
    ? { user: address, at: null }
    : { user: address.slice(0, i), at: address.slice(i + 1) };
}

function local(mailbox: string, domain: string): Verification {
  return { kind: "local", mailbox, description: `<${mailbox}@${domain}>` };
}

function noMatch(rule: AccountRule, query: RecipientQuery, reason: string): Verification {
  if (rule.check) return { kind: "remote", address: query.recipient };
  return { kind: "refuse", reply: { code: 550, text: "rejected" }, reason };
}
