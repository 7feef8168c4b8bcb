/** Says when something that was put off is to be tried: one alarm, for whatever is first. */
import type { Clock } from "../core/clock.ts";

export interface AlarmOptions {
  readonly clock: Clock;
  /** Aborted when it is not to sound any more. */
  readonly signal: AbortSignal;
  readonly onTime: () => void;
}

/** It does not sound more often, whatever it is set to. */
const SHORTEST_MS = 1000;

export class Alarm {
  readonly #options: AlarmOptions;
  #set: { readonly at: number; readonly off: AbortController } | null = null;

  constructor(options: AlarmOptions) {
    this.#options = options;
  }

  /** It sounds then, and at no other time; null for never. */
  set(ms: number | null): void {
    this.#set?.off.abort();
    this.#set = null;
    if (ms !== null) this.advance(ms);
  }

  /** It sounds then, or before. */
  advance(ms: number): void {
    const { clock, signal, onTime } = this.#options;
    const wait = Math.max(ms, SHORTEST_MS);
    const at = clock.monotonic() + wait;
    if (signal.aborted || (this.#set !== null && this.#set.at <= at)) return;
    this.#set?.off.abort();
    const off = new AbortController();
    this.#set = { at, off };
    clock.sleep(wait, AbortSignal.any([signal, off.signal])).then(
      () => {
        if (off.signal.aborted) return;
        this.#set = null;
        onTime();
      },
      () => undefined,
    );
  }
}
