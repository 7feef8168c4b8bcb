/** SASL, both sides, as pure conversations: no sockets, no base64. Ports; `auth/` implements them. */

/** Who may log in here. Re-reads its secrets when they change. */
export interface ServerAccounts {
  /** True if --server-auth is in use. */
  readonly enabled: boolean;
  /** Mechanism names in upper case, in the order to offer them; empty when none is allowed now. */
  mechanisms(secure: boolean): readonly string[];
  /** One conversation. `mechanism` is upper case and one of `mechanisms(secure)`. */
  begin(mechanism: string): SaslServer;
  /** The `none` line that matches the client's IP address, or null. */
  trusted(ip: string): Trust | null;
  /** True if the id has only a hashed secret for another mechanism: answer 432 instead of 504 (R7.6). */
  needsTransition(mechanism: string, id: string): boolean;
}

/** Who may log in to the POP server: by SASL, and by APOP (RFC 1939), which is none of its mechanisms. */
export interface PopAccounts extends ServerAccounts {
  /** True if APOP may be used now and somebody has the plain secret that it needs. */
  offersApop(secure: boolean): boolean;
  /** "<number.seconds@domain>", never the same twice. */
  apopChallenge(): string;
  /** Judges the MD5 of challenge and password: accepted or refused, no further challenge. */
  judgeApop(proof: ApopProof): SaslVerdict;
}

export interface ApopProof {
  readonly id: Buffer;
  readonly challenge: string;
  /** Hexadecimal, as the client sent it. */
  readonly digest: string;
}

export interface Trust {
  readonly keyword: string;
  readonly pattern: string;
  /** Line in the secrets file. */
  readonly line: number;
}

export interface SaslServer {
  readonly mechanism: string;
  /** True if the client must wait for our challenge (CRAM-*): an initial response is an error. */
  readonly challengeFirst: boolean;
  /** First step. `initial` is null when the client sent no initial response; empty for "=". */
  start(initial: Buffer | null): SaslStep;
  next(response: Buffer): SaslStep;
}

export type SaslStep =
  | { readonly kind: "challenge"; readonly data: Buffer }
  | SaslVerdict
  /** Somebody else is asked, which takes its time. Never rejects. */
  | { readonly kind: "pending"; readonly verdict: Promise<SaslVerdict> };

export type SaslVerdict =
  /** `detail` reads "using mechanism [plain] and plaintext secret for [alice] from line 2". */
  | { readonly kind: "accepted"; readonly id: string; readonly detail: string }
  | { readonly kind: "refused"; readonly id: string; readonly detail: string }
  /** Nobody could judge it now; `detail` says why, too. */
  | { readonly kind: "unavailable"; readonly id: string; readonly detail: string };

/** Our accounts on smarthosts. Re-reads its secrets when they change. */
export interface ClientAccounts {
  /**
   * What to do for this selector: nothing, or these conversations in turn (already filtered by what
   * the smarthost lists, best first), or an error text.
   */
  plan(selector: string, offered: readonly string[] | null): ClientPlan;
}

export type ClientPlan =
  | { readonly kind: "none" }
  | { readonly kind: "error"; readonly why: string }
  | { readonly kind: "try"; readonly attempts: readonly SaslClient[] };

export interface SaslClient {
  /** Upper case. */
  readonly mechanism: string;
  readonly id: string;
  /** Sent on the AUTH line when it is at most 450 bytes; null when the server speaks first. */
  readonly initial: Buffer | null;
  /** Answer to a challenge; null for "*" (the challenge makes no sense). */
  respond(challenge: Buffer): Buffer | null;
  /** Reads "using mechanism [plain] and plaintext secret for [bob] from line 1". */
  readonly detail: string;
}
