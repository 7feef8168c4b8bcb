/** The wish of others to stop: one listener for a connection, not one for each message on it. */
import { setMaxListeners } from "node:events";

export class StopSignal {
  readonly #stop: (reason: unknown) => void;
  #signal: AbortSignal | null = null;

  /** `stop` is called with the reason when the signal that is obeyed is aborted. */
  constructor(stop: (reason: unknown) => void) {
    this.#stop = stop;
  }

  /** This one from now on, mostly the same as before; null for none. Throws its reason when it is aborted already. */
  obey(signal: AbortSignal | null): void {
    signal?.throwIfAborted();
    if (this.#signal === signal) return;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#signal = signal;
    if (signal === null) return;
    // Many connections may share the signal that stops them all: that is no leak.
    setMaxListeners(0, signal);
    signal.addEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = (): void => this.#stop(this.#signal?.reason);
}
