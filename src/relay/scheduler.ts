/** Decides when to forward: one run at a time, one more queued at the most. */
import { describeError } from "../core/errors.ts";
import type { Journal } from "../core/events.ts";
import type { RunResult } from "./tally.ts";

/** A run that is under way. */
export interface Running {
  readonly result: Promise<RunResult>;
  /** There may be new mail: it need not wait for the next run. `urgent` when somebody asks in person. */
  again(urgent: boolean): void;
  /** "address:port" of a smarthost that it has a connection to; "" when there is none. */
  connectedTo(): string;
}

export interface SchedulerOptions {
  /** Begins a run; `forced` when somebody asks for it, so that what was put off is tried too. */
  readonly run: (forced: boolean) => Running;
  /** Called after each run, unless another one follows at once. */
  readonly onIdle: () => void;
  readonly journal: Journal;
}

interface Wish {
  readonly reason: string;
  readonly forced: boolean;
}

/** Whoever asks in person wants everything to be tried now. */
const FORCING: ReadonlySet<string> = new Set(["admin", "signal"]);

export class Scheduler {
  readonly #options: SchedulerOptions;
  #current: { readonly running: Running; readonly done: Promise<RunResult> } | null = null;
  #queued: Wish | null = null;
  #stopped = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /**
   * Asks for a run: "startup", "poll", "admin", "client disconnect", "rescan", "signal". When one is
   * under way, one more follows it. Never throws; resolves to what became of the run it is part of.
   */
  request(reason: string): void {
    this.#ask({ reason, forced: FORCING.has(reason) });
  }

  /** Makes a run and waits for it; for a program that only forwards. */
  async runOnce(reason: string): Promise<RunResult> {
    this.#options.journal.tell({ kind: "forward.requested", reason });
    return await this.#start(true);
  }

  /** Resolves when the run under way is over, at once if there is none. */
  async settled(): Promise<void> {
    await this.#current?.done;
  }

  /** Takes no more requests; resolves when the run under way is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#queued = null;
    await this.#current?.done;
  }

  #ask({ reason, forced }: Wish): void {
    if (this.#stopped) return;
    const { journal } = this.#options;
    if (this.#current !== null) {
      const before = this.#queued;
      // The first reason stays, but whoever asks in person is not forgotten.
      this.#queued = {
        reason: before?.reason ?? reason,
        forced: forced || before?.forced === true,
      };
      const { running } = this.#current;
      const connectedTo = running.connectedTo();
      journal.tell({ kind: "forward.busy", reason, queued: before === null, connectedTo });
      running.again(forced);
      return;
    }
    journal.tell({ kind: "forward.requested", reason });
    void this.#start(forced); // Its errors are told, not thrown.
  }

  #start(forced: boolean): Promise<RunResult> {
    const running = this.#options.run(forced);
    const done = this.#told(running);
    this.#current = { running, done };
    void done.finally(() => this.#finished());
    return done;
  }

  async #told({ result }: Running): Promise<RunResult> {
    const { journal } = this.#options;
    const ended = await result.catch(
      (error: unknown): RunResult => ({ tried: 0, error: describeError(error) }),
    );
    const { tried, error, told = false } = ended;
    journal.tell({ kind: "forward.idle", tried, error: error ?? "" });
    if (error !== null && !told) {
      journal.tell({ kind: "note", level: "error", detail: false, text: `forwarding: ${error}` });
    }
    return ended;
  }

  #finished(): void {
    this.#current = null;
    const wish = this.#queued;
    this.#queued = null;
    if (wish !== null) this.#ask(wish);
    else if (!this.#stopped) this.#options.onIdle();
  }
}
