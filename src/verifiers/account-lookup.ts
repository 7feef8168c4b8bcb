/** Finds system accounts: in the account file, and through the system's other sources (LDAP, winbind) by getent(1). */
import { isErrno, RelayError } from "../core/errors.ts";
import { findAccount } from "../io/identity.ts";
import { runProgram } from "../io/program.ts";
import type { VerifierTerms } from "./item.ts";

export interface SystemAccount {
  readonly name: string;
  readonly uid: number;
}

/** null: there is none. Throws PROGRAM_TIMEOUT when the system does not say in time. */
export type AccountLookup = (name: string, signal: AbortSignal) => Promise<SystemAccount | null>;

const GETENT = "/usr/bin/getent";
/** How long an answer of getent holds: many recipients, or somebody who guesses names, cost few processes. */
const FRESH_MS = 60_000;
const MAX_REMEMBERED = 1000;
/** What account names may look like; a number alone would be looked up as a uid. */
const NAME = /^(?!\d+$)[A-Za-z0-9_.][A-Za-z0-9_.-]{0,254}\$?$/;

interface Remembered {
  readonly account: SystemAccount | null;
  readonly until: number;
}

export function accountLookup(terms: VerifierTerms, getent = GETENT): AccountLookup {
  const remembered = new Map<string, Remembered>();
  return async (name, signal) => {
    if (!NAME.test(name)) return null;
    const local = inAccountFile(name);
    if (local !== null) return local;

    const now = terms.clock.monotonic();
    const known = remembered.get(name);
    if (known !== undefined && known.until > now) return known.account;
    const account = await askSystem(name, { terms, getent, signal });
    remembered.delete(name);
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(name, { account, until: now + FRESH_MS });
    return account;
  };
}

function inAccountFile(name: string): SystemAccount | null {
  try {
    return findAccount(name);
  } catch (error) {
    if (error instanceof RelayError && error.code === "IDENTITY") return null;
    throw error;
  }
}

async function askSystem(
  name: string,
  { terms, getent, signal }: { terms: VerifierTerms; getent: string; signal: AbortSignal },
): Promise<SystemAccount | null> {
  const { account, timeoutMs } = terms;
  const args = ["passwd", "--", name];
  let output: string;
  try {
    const end = await runProgram({ path: getent, args, account, timeoutMs, signal });
    if (end.timedOut) throw new RelayError("PROGRAM_TIMEOUT", getent, "no answer in time");
    output = end.exitCode === 0 ? end.output : "";
  } catch (error) {
    // A system without getent has no sources but the file.
    if (error instanceof RelayError && isErrno(error.cause, "ENOENT")) return null;
    throw error;
  }
  const [found = "", , uid = ""] = output.split("\n", 1)[0]?.split(":") ?? [];
  const same = found.toLowerCase() === name.toLowerCase() && /^\d+$/.test(uid);
  return same ? { name: found, uid: Number(uid) } : null;
}
