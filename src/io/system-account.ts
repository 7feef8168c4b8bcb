/** Finds the account to run as, wherever the system has it: the account file first, then LDAP, systemd and others. */
import { spawnSync } from "node:child_process";
import { type Account, accountIn, findAccount } from "./identity.ts";

const GETENT = "/usr/bin/getent";
/** A directory that does not answer must not hold the start up for ever. */
const PATIENCE_MS = 10_000;

/** Throws IDENTITY `no such user: <name>` when the file has no such account and getent(1) knows none. */
export function findSystemAccount(name: string, getent = GETENT): Account {
  try {
    return findAccount(name);
  } catch (error) {
    const account = accountIn(ask(getent, name), name);
    if (account === null) throw error;
    return account;
  }
}

/** Lines of the passwd format; "" where there is no answer, or no getent. */
function ask(getent: string, name: string): string {
  const { stdout } = spawnSync(getent, ["passwd", "--", name], {
    env: { PATH: "/usr/bin:/bin" },
    stdio: ["ignore", "pipe", "ignore"],
    encoding: "utf8",
    timeout: PATIENCE_MS,
    killSignal: "SIGKILL",
  });
  return stdout ?? "";
}
