/** Everything that an operator can do to a running relay. A port: admin connections speak to it, the instance does it. */
import type { RelayEvent } from "./events.ts";
import type { MessageId } from "./message-id.ts";

export interface Control {
  /** Messages that wait, sorted. */
  list(): Promise<readonly MessageId[]>;
  /** Messages that were set aside as `.bad`, sorted. */
  failures(): Promise<readonly MessageId[]>;
  /** Puts every message that was set aside back into the queue. */
  unfailAll(): Promise<void>;
  /** True if there is a smarthost to forward to. */
  readonly forwards: boolean;
  /** Asks for a forwarding run. */
  forward(): void;
  /** Makes a run of its own and waits for its end. */
  flush(): Promise<FlushResult>;
  /** Addresses that are listened on, of all servers of the instance, this one included. */
  listening(): readonly string[];
  /** MAIL gets 421 while disabled. */
  enableSmtp(enabled: boolean): void;
  /** Suspends the block lists for so many seconds; 0: asks them again from now on. */
  suspendDnsbl(seconds: number): void;
  /** Ends the program cleanly; null where that is not allowed. */
  readonly terminate: (() => void) | null;
  /**
   * Tells everything that happens from now on, sessions of administrators included, until the
   * returned function is called.
   */
  subscribe(listen: (event: RelayEvent, cause: Cause) => void): () => void;
}

/** Whether something happens in the run that a `flush` makes for itself: administrators are told less of that. */
export type Cause = "flush" | "other";

export interface FlushResult {
  /** Messages that were taken in hand. */
  readonly tried: number;
  /** What ended the run early; null when nothing did. */
  readonly error: string | null;
}
