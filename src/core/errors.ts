/** What the operator must fix, or storage trouble: the only errors that rooms throw on purpose. */

export type ErrorCode =
  | "CONFIG_INVALID"
  | "CONFIG_CONFLICT"
  | "SECRETS_SYNTAX"
  | "TLS_SETUP"
  | "BIND"
  | "IDENTITY"
  | "LOG_OPEN"
  | "PID_FILE"
  | "SPOOL_INVALID"
  | "SPOOL_FULL"
  | "SPOOL_IO"
  | "CONTENT_MISSING"
  | "MESSAGE_REMOVED"
  | "ENVELOPE_SYNTAX"
  | "PROGRAM_START"
  | "PROGRAM_TIMEOUT";

export class RelayError extends Error {
  readonly code: ErrorCode;
  /** "relayd.conf:12", "--port", "emailrelay.7.1.3.envelope"; "" when the message says it. */
  readonly where: string;

  constructor(code: ErrorCode, where: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "RelayError";
    this.code = code;
    this.where = where;
  }
}

/** True for a system error with this code ("ENOENT"). */
export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    codes.includes(error.code)
  );
}

/** One line about anything that was thrown. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True if it only says that a signal was aborted. */
export function isErrorOf(signal: AbortSignal, error: unknown): boolean {
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}
