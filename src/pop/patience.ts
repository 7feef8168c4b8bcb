/** How long a client may take: for its next byte, for a whole command, for logging in. Pure. */

const HANDSHAKE_MS = 40_000;
/** Each byte of a command is activity; only the whole command ends this clock. */
const COMMAND_MS = 60_000;
const LOGIN_MS = 300_000;
/** How long a client may take to close its side after we have closed ours. */
const LINGER_MS = 5_000;

/** All times are of a clock that never goes back, in milliseconds. */
export class Patience {
  readonly #idleTimeoutMs: number;
  readonly #started: number;
  #heard: number;
  /** When the command in hand began; null for none. */
  #commandSince: number | null = null;
  /** When the handshake in hand began; null for none. */
  #handshakeSince: number | null = null;
  #lingerUntil = Number.POSITIVE_INFINITY;

  constructor(idleTimeoutMs: number, now: number) {
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#started = now;
    this.#heard = now;
  }

  /** Something came or went, or we have just become ready for it. */
  heard(now: number): void {
    this.#heard = now;
  }

  get handshaking(): boolean {
    return this.#handshakeSince !== null;
  }

  /** A handshake begins, or we wait for a client that has asked for one; nothing that is heard meanwhile makes it longer. */
  handshakeBegun(now: number): void {
    this.#handshakeSince ??= now;
  }

  handshakeDone(): void {
    this.#handshakeSince = null;
  }

  commandDone(): void {
    this.#commandSince = null;
  }

  /** Whether a command is incomplete at the moment. */
  note(partial: boolean): void {
    this.#commandSince = partial ? (this.#commandSince ?? this.#heard) : null;
  }

  /** Why the session must end now, or null. While we are at work the client need not do anything. */
  exhausted(
    now: number,
    { busy, loggedIn }: { readonly busy: boolean; readonly loggedIn: boolean },
  ): string | null {
    if (this.#handshakeSince !== null) {
      return now - this.#handshakeSince >= HANDSHAKE_MS ? "tls handshake timeout" : null;
    }
    if (busy) return null;
    const idleMs = this.#idleTimeoutMs;
    if (idleMs > 0 && now - this.#heard >= idleMs) {
      return `idle timeout: no activity after ${Math.round(idleMs / 1000)}s`;
    }
    if (now - (this.#commandSince ?? now) >= COMMAND_MS) return "command timeout: not complete";
    if (!loggedIn && now - this.#started >= LOGIN_MS) return "login timeout: not logged in";
    return null;
  }

  /** We have said our last word. */
  linger(now: number): void {
    this.#lingerUntil = now + LINGER_MS;
  }

  lingered(now: number): boolean {
    return now >= this.#lingerUntil;
  }
}
