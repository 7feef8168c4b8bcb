/**
 * Logging in with the passwords of this system, "--server-auth=pam:". PAM is asked through saslauthd,
 * which runs as root beside us and whose modules cannot harm us: docs/decisions/010-pam.md.
 */
import { existsSync, statSync } from "node:fs";
import type { SaslServer, SaslStep, SaslVerdict } from "../core/auth.ts";
import { RelayError } from "../core/errors.ts";
import { asRoot } from "../io/identity.ts";
import { parseAuthConfig, passes } from "./auth-config.ts";
import { askSaslauthd } from "./saslauthd.ts";
import type { OpenServerAccounts } from "./server-accounts.ts";

export interface PamOptions {
  /** Text of --server-auth: "pam:", "/pam", or "pam:<path>" with the socket of saslauthd. */
  readonly text: string;
  /** Text of --server-auth-config. */
  readonly authConfig: string;
  /** True if clients can get a secure session here: then passwords are not asked for in clear. */
  readonly tlsAvailable: boolean;
}

const USUAL_SOCKET = "/run/saslauthd/mux";
/** PAM modules may look things up far away, and wait after a failure. */
const PATIENCE_MS = 30_000;
const MECHANISMS = ["PLAIN", "LOGIN"];

/** What would stop the start; null when saslauthd can be asked. */
export function pamFault(text: string): string | null {
  const path = socketOf(text);
  const found = asRoot(() => statSync(path, { throwIfNoEntry: false }));
  if (found?.isSocket() === true) return null;
  return `cannot use pam: saslauthd does not listen at ${path}: PAM is asked through it (Debian: sasl2-bin)`;
}

/** Throws CONFIG_INVALID when saslauthd cannot be asked. */
export function openPamAccounts({
  text,
  authConfig,
  tlsAvailable,
}: PamOptions): OpenServerAccounts {
  const fault = pamFault(text);
  if (fault !== null) throw new RelayError("CONFIG_INVALID", "", fault);
  const rules = parseAuthConfig(authConfig);
  const path = socketOf(text);
  const service = serviceName();
  const judge: Judge = async (mechanism, id, password) => {
    const answer = await askSaslauthd(path, { id, password, service }, PATIENCE_MS);
    return verdictOf(answer, mechanism, id.toString("utf8"));
  };
  return {
    enabled: true,
    mechanisms: (secure) => {
      const rule = secure ? rules.secure : rules.insecure;
      const hidden = !secure && tlsAvailable && rule.only === null;
      return hidden ? [] : MECHANISMS.filter((one) => passes(rule, one));
    },
    begin: (mechanism) => (mechanism === "LOGIN" ? loginByPam(judge) : plainByPam(judge)),
    trusted: () => null,
    needsTransition: () => false,
    // A digest of the password proves nothing to somebody who does not know it.
    offersApop: () => false,
    apopChallenge: () => "",
    judgeApop: () => ({ kind: "refused", id: "", detail: "using mechanism [apop]" }),
    reload: () => undefined,
  };
}

type Judge = (mechanism: string, id: Buffer, password: Buffer) => Promise<SaslVerdict>;

/** RFC 4616. An authorisation identity must be the one that logs in. */
function plainByPam(judge: Judge): SaslServer {
  const answer = (message: Buffer): SaslStep => {
    const first = message.indexOf(0);
    const second = message.indexOf(0, first + 1);
    const acting = message.subarray(0, Math.max(first, 0));
    const id = message.subarray(first + 1, Math.max(second, 0));
    const formed = first >= 0 && second > first && message.indexOf(0, second + 1) < 0;
    if (!formed || id.length === 0 || (acting.length > 0 && !acting.equals(id))) {
      return { kind: "refused", id: "", detail: "using mechanism [plain]" };
    }
    return { kind: "pending", verdict: judge("plain", id, message.subarray(second + 1)) };
  };
  return {
    mechanism: "PLAIN",
    challengeFirst: false,
    start: (initial) =>
      initial === null ? { kind: "challenge", data: Buffer.alloc(0) } : answer(initial),
    next: answer,
  };
}

function loginByPam(judge: Judge): SaslServer {
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
    next: (response) => {
      if (id === null) return takeName(response);
      return id.length === 0
        ? { kind: "refused", id: "", detail: "using mechanism [login]" }
        : { kind: "pending", verdict: judge("login", id, response) };
    },
  };
}

function verdictOf(
  answer: Awaited<ReturnType<typeof askSaslauthd>>,
  mechanism: string,
  id: string,
): SaslVerdict {
  const shown = id.replace(/\p{Cc}/gu, "?");
  const detail = `using mechanism [${mechanism}] and pam for [${shown}]`;
  switch (answer.kind) {
    case "yes":
      return { kind: "accepted", id, detail };
    case "no":
      return { kind: "refused", id, detail };
    case "none":
      return { kind: "unavailable", id, detail: `${detail}: saslauthd: ${answer.why}` };
  }
}

function socketOf(text: string): string {
  const given = text.startsWith("pam:") ? text.slice("pam:".length) : "";
  return given === "" ? USUAL_SOCKET : given;
}

/** Sites that come from E-MailRelay have a service of that name. */
function serviceName(): string {
  return existsSync("/etc/pam.d/relayd") ? "relayd" : "emailrelay";
}
