/** Decides when to forward: one run at a time, one more queued at the most. */
import { describeError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { RunResult } from "./run.ts";

export interface SchedulerOptions {
  readonly run: () => Promise<RunResult>;
  readonly journal: Journal;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  #current: Promise<RunResult> | null = null;
  #queued: string | null = null;
  #stopped = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /**
   * Asks for a run: "startup", "poll", "admin", "client disconnect", "rescan", "signal". When one is
   * under way, one more follows it. Never throws; resolves to what became of the run it is part of.
   */
  request(reason: string): void {
    if (this.#stopped) return;
    const { journal } = this.#options;
    if (this.#current !== null) {
      const queued = this.#queued === null;
      this.#queued ??= reason;
      journal.tell({ kind: "forward.busy", reason, queued, connectedTo: "" });
      return;
    }
    journal.tell({ kind: "forward.requested", reason });
    void this.#start(); // Its errors are told, not thrown.
  }

  /** Makes a run and waits for it; for a program that only forwards. */
  async runOnce(reason: string): Promise<RunResult> {
    this.#options.journal.tell({ kind: "forward.requested", reason });
    return await this.#start();
  }

  /** Takes no more requests; resolves when the run under way is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#queued = null;
    await this.#current;
  }

  #start(): Promise<RunResult> {
    const current = this.#run();
    this.#current = current;
    void current.finally(() => this.#finished());
    return current;
  }

  async #run(): Promise<RunResult> {
    const { journal, run } = this.#options;
    try {
      const result = await run();
      journal.tell({ kind: "forward.idle", tried: result.tried, error: result.error ?? "" });
      if (result.error !== null) {
        journal.tell({
          kind: "note",
          level: "error",
          detail: false,
          text: `forwarding: ${result.error}`,
        });
      }
      return result;
    } catch (error) {
      const why = describeError(error);
      journal.tell({ kind: "note", level: "error", detail: false, text: `forwarding: ${why}` });
      journal.tell({ kind: "forward.idle", tried: 0, error: why });
      return { tried: 0, error: why };
    }
  }

  #finished(): void {
    this.#current = null;
    const reason = this.#queued;
    this.#queued = null;
    if (reason !== null) this.request(reason);
  }
}
