/** Which message a line of the client's side belongs to: known as long as one message is on its way at a time. */
import type { Peer, RelayEvent } from "../core/events.ts";

/** Ids that may be left over from messages whose end was not told. */
const MOST = 1000;

export class ForwardingContext {
  readonly #underWay = new Set<string>();
  #smarthost = "";

  /** The message's id, or "" when the event is not about forwarding, or more than one is being forwarded. */
  of(event: RelayEvent): string {
    if (event.kind === "forward.message") {
      if (this.#underWay.size >= MOST) this.#underWay.clear();
      this.#underWay.add(event.id);
      return event.id;
    }
    if ("delivery" in event || isUntried(event)) {
      this.#underWay.delete(event.id);
      return event.id;
    }
    // Whatever was left over from the last run is not on its way any more.
    if (event.kind === "forward.requested") this.#underWay.clear();
    if (event.kind === "smarthost.connected") this.#smarthost = keyOf(event.peer);
    return this.#concerns(event) ? this.#only() : "";
  }

  #concerns(event: RelayEvent): boolean {
    if (event.kind.startsWith("smarthost.")) return true;
    return "peer" in event && keyOf(event.peer) === this.#smarthost;
  }

  #only(): string {
    const [first = ""] = this.#underWay;
    return this.#underWay.size === 1 ? first : "";
  }
}

/** The end of a message that no smarthost was asked about. */
function isUntried(
  event: RelayEvent,
): event is Extract<RelayEvent, { kind: "forward.abandoned" | "forward.skipped" }> {
  return event.kind === "forward.abandoned" || event.kind === "forward.skipped";
}

function keyOf({ address, port }: Peer): string {
  return `${address} ${port}`;
}
