/** Everything that happens in one instance goes through here: to the log, into the counts, to whoever listens. */
import type { Cause } from "../core/control.ts";
import type { Journal, RelayEvent } from "../core/events.ts";

type Listen = (event: RelayEvent, cause: Cause) => void;

export class Tidings {
  readonly #log: Journal;
  readonly #logsPolls: boolean;
  readonly #listeners = new Set<Listen>();
  /** The run that is under way is that of a poll which the log is not told of. */
  #quietRun = false;
  readonly #counts = { accepted: 0, delivered: 0, failed: 0, sessions: 0 };

  /** `logsPolls`: polls are rare enough to be worth a line each (R10). */
  constructor(log: Journal, logsPolls: boolean) {
    this.#log = log;
    this.#logsPolls = logsPolls;
  }

  /** Where rooms tell what happens, for this reason. */
  journal(cause: Cause = "other"): Journal {
    return { detail: this.#log.detail, tell: (event) => this.#tell(event, cause) };
  }

  /** Tells everything from now on, until the returned function is called. */
  subscribe(listen: Listen): () => void {
    this.#listeners.add(listen);
    return () => this.#listeners.delete(listen);
  }

  /** "sessions 1, accepted 5, ...": the SMTP sessions there are now, and messages since the start. */
  summary(): string {
    const { sessions, accepted, delivered, failed } = this.#counts;
    return `sessions ${sessions}, accepted ${accepted}, delivered ${delivered}, failed ${failed}`;
  }

  #tell(event: RelayEvent, cause: Cause): void {
    this.#count(event);
    if (!this.#isQuiet(event, cause)) this.#log.tell(event);
    for (const listen of this.#listeners) listen(event, cause);
  }

  /** A poll that comes often, and its end when there was nothing to do. */
  #isQuiet(event: RelayEvent, cause: Cause): boolean {
    // A flush is a run of its own, beside the others.
    if (this.#logsPolls || cause === "flush") return false;
    if (event.kind === "forward.requested") {
      this.#quietRun = event.reason === "poll";
      return this.#quietRun;
    }
    if (event.kind !== "forward.idle" || !this.#quietRun) return false;
    return event.tried === 0 && event.error === "";
  }

  #count(event: RelayEvent): void {
    const { kind } = event;
    if (kind === "message.accepted") this.#counts.accepted += 1;
    if (kind === "message.delivered") this.#counts.delivered += 1;
    if (kind === "message.failed") this.#counts.failed += 1;
    if (kind === "session.opened" && event.server === "smtp") this.#counts.sessions += 1;
    if (kind === "session.closed" && event.server === "smtp") this.#counts.sessions -= 1;
  }
}
