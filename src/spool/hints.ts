/** "Something changed", for any number of listeners; many changes between two looks are one. */

export class Hints {
  readonly #listeners = new Set<() => void>();

  give(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Ends when the signal is aborted. */
  async *follow(signal: AbortSignal): AsyncGenerator<void> {
    let pending = false;
    let wake: () => void = () => undefined;
    const listener = () => {
      pending = true;
      wake();
    };
    this.#listeners.add(listener);
    signal.addEventListener("abort", listener);
    try {
      while (!signal.aborted) {
        if (!pending) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        pending = false;
        if (!signal.aborted) yield;
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", listener);
    }
  }
}
