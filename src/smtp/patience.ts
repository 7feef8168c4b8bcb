/** How long a client may take: for its next byte, for one line or message, for everything. Pure. */

export interface PatienceLimits {
  readonly idleTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  readonly messageTimeoutMs: number;
}

const HANDSHAKE_MS = 40_000;
/** How long a client may take to close its side after we have closed ours. */
const LINGER_MS = 5_000;

/** All times are of a clock that never goes back, in milliseconds. */
export class Patience {
  readonly #limits: PatienceLimits;
  readonly #started: number;
  #heard: number;
  /** When the line or message in hand began; null for none. */
  #lineSince: number | null = null;
  #messageSince: number | null = null;
  /** When the handshake in hand began; null for none. */
  #handshakeSince: number | null = null;
  #lingerUntil = Number.POSITIVE_INFINITY;
  /** True until the client has said something. */
  fresh = true;

  constructor(limits: PatienceLimits, now: number) {
    this.#limits = limits;
    this.#started = now;
    this.#heard = now;
  }

  /** The client is let in: what it did until now counts as nothing. */
  admitted(now: number): void {
    this.#heard = now;
  }

  /** Something came, or we have just become ready for it. */
  heard(now: number): void {
    this.#heard = now;
    this.fresh = false;
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

  lineDone(): void {
    this.#lineSince = null;
  }

  /** A message has had its answer, or was given up: the next one, and the line after it, have their own time. */
  messageDone(): void {
    this.#lineSince = null;
    this.#messageSince = null;
  }

  /** What is incomplete at the moment. Each byte is heard; only the whole ends this clock. */
  note(line: boolean, message: boolean): void {
    this.#lineSince = line ? (this.#lineSince ?? this.#heard) : null;
    this.#messageSince = message ? (this.#messageSince ?? this.#heard) : null;
  }

  /** Why the session must end now, or null. While we are at work only the handshake is limited. */
  exhausted(now: number, busy: boolean): string | null {
    const { idleTimeoutMs, sessionTimeoutMs, messageTimeoutMs } = this.#limits;
    if (this.#handshakeSince !== null) {
      return now - this.#handshakeSince >= HANDSHAKE_MS ? "tls handshake timeout" : null;
    }
    if (busy) return null;
    if (idleTimeoutMs > 0 && now - this.#heard >= idleTimeoutMs) {
      return `idle timeout: no activity after ${seconds(idleTimeoutMs)}s`;
    }
    const since = Math.min(this.#lineSince ?? now, this.#messageSince ?? now);
    if (messageTimeoutMs > 0 && now - since >= messageTimeoutMs) {
      return `message timeout: not complete after ${seconds(messageTimeoutMs)}s`;
    }
    if (sessionTimeoutMs > 0 && now - this.#started >= sessionTimeoutMs) {
      return `session timeout: not finished after ${seconds(sessionTimeoutMs)}s`;
    }
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

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}
