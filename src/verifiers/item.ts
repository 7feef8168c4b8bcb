/** What every address verifier is told once, when it is opened for a session. */
import type { Clock } from "../core/clock.ts";
import type { Journal } from "../core/events.ts";
import type { Account } from "../io/identity.ts";

export interface VerifierTerms {
  /** Milliseconds for one answer; 0 for no limit. */
  readonly timeoutMs: number;
  /** Account that programs run as; null: the process's own. */
  readonly account: Account | null;
  /** Our own name: what "account:" compares domains with. */
  readonly domain: string;
  readonly journal: Journal;
  readonly clock: Clock;
}
