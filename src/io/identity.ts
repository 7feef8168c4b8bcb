/** Who the process is: account look-up, giving up root for the effective ids, and root again for a moment. */
import { readFileSync } from "node:fs";
import { RelayError } from "../core/errors.ts";

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Reads the account database. Throws IDENTITY `no such user: <name>`. */
export function findAccount(name: string, database = "/etc/passwd"): Account {
  const account = accountIn(readFileSync(database, "utf8"), name);
  if (account === null) throw new RelayError("IDENTITY", "--user", `no such user: ${name}`);
  return account;
}

/** The account of that name in lines of the passwd format (name:x:uid:gid:...); null when there is none. */
export function accountIn(lines: string, name: string): Account | null {
  for (const line of lines.split("\n")) {
    const [user, , uid = "", gid = ""] = line.split(":");
    if (user === name && /^\d+$/.test(uid) && /^\d+$/.test(gid)) {
      return { name, uid: Number(uid), gid: Number(gid) };
    }
  }
  return null;
}

/** True if started by root, directly or by a set-uid bit that then is given up. */
export function startedByRoot(): boolean {
  return process.getuid?.() === 0;
}

/** A set-uid or set-gid start by somebody else: the extra rights are given up for good. */
export function dropInheritedRights(): void {
  const uid = process.getuid?.();
  const gid = process.getgid?.();
  if (uid === undefined || gid === undefined) return;
  if (process.getegid?.() !== gid) process.setgid?.(gid);
  if (process.geteuid?.() !== uid) process.setuid?.(uid);
}

/** Takes the group only: what a process does that must stay root to reach its spool. */
export function becomeGroupOf(account: Account): void {
  process.setgroups?.([]);
  process.setegid?.(account.gid);
}

/** Takes the account's effective ids; the real ids stay root, for `asRoot`. */
export function become(account: Account): void {
  becomeGroupOf(account);
  process.seteuid?.(account.uid);
}

/** Does something short and synchronous as root again, where the process was started by root. */
export function asRoot<T>(work: () => T): T {
  const uid = process.geteuid?.();
  if (!startedByRoot() || uid === undefined || uid === 0) return work();
  process.seteuid?.(0);
  try {
    return work();
  } finally {
    process.seteuid?.(uid);
  }
}
