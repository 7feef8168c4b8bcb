/** What one instance is made of. */
import type { Clock } from "../core/clock.ts";
import type { InstanceConfig } from "../core/config.ts";
import type { Journal } from "../core/events.ts";
import type { Account } from "../io/identity.ts";

export interface InstanceOptions {
  readonly config: InstanceConfig;
  readonly domain: string;
  readonly version: string;
  /** Who programs run as; null: as the process, which was not started by root or is to stay root. */
  readonly account: Account | null;
  readonly journal: Journal;
  readonly clock: Clock;
  /** Reads a secrets file with the rights that the process was started with. */
  readonly readSecret: (path: string) => string;
  /** Watch the spool and forward as soon as something appears in it (--trial). */
  readonly eager: boolean;
  /** Ends the program as SIGTERM does. */
  readonly terminate: () => void;
}

/** Whatever keeps secrets or certificates in memory and can read them anew. */
export interface Reloadable {
  reload(): void;
}
