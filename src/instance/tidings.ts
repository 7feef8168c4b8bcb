/** Everything that happens in one instance goes through here: to the log, into the counts, to whoever listens. */
import type { Cause } from "../core/control.ts";
import type { Journal, RelayEvent } from "../core/events.ts";

type Listen = (event: RelayEvent, cause: Cause) => void;

export class Tidings {
  readonly #log: Journal;
  readonly #listeners = new Set<Listen>();
  readonly #counts = { accepted: 0, delivered: 0, failed: 0, sessions: 0 };

  constructor(log: Journal) {
    this.#log = log;
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
    return Object.entries(this.#counts)
      .sort(([a], [b]) => ORDER.indexOf(a) - ORDER.indexOf(b))
      .map(([name, count]) => `${name} ${count}`)
      .join(", ");
  }

  #tell(event: RelayEvent, cause: Cause): void {
    this.#count(event);
    this.#log.tell(event);
    for (const listen of this.#listeners) listen(event, cause);
  }

  #count(event: RelayEvent): void {
    switch (event.kind) {
      case "message.accepted":
        this.#counts.accepted += 1;
        break;
      case "message.delivered":
        this.#counts.delivered += 1;
        break;
      case "message.failed":
        this.#counts.failed += 1;
        break;
      case "session.opened":
        if (event.server === "smtp") this.#counts.sessions += 1;
        break;
      case "session.closed":
        if (event.server === "smtp") this.#counts.sessions -= 1;
        break;
      default:
        break;
    }
  }
}

const ORDER = ["sessions", "accepted", "delivered", "failed"];
