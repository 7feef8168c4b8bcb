/**
 * Turns what happens into the lines that `notify` shows, in the order in which E-MailRelay shows
 * them. Source: R14, observed, E-MailRelay 2.6 (B.8, B.9).
 */
import type { Cause } from "../core/control.ts";
import { displayAddress } from "../core/endpoint.ts";
import type { RelayEvent } from "../core/events.ts";
import { Network } from "./network.ts";
import { oneLine } from "./one-line.ts";

type Of<Kind extends RelayEvent["kind"]> = Extract<RelayEvent, { kind: Kind }>;
type Lines = { readonly [Kind in RelayEvent["kind"]]?: (event: Of<Kind>) => string[] };

export class Announcer {
  readonly network = new Network();
  /** Messages that are in hand; those still `waiting` are not announced yet. */
  readonly #inHand = new Map<string, "waiting" | "announced">();
  /** Smarthost and account of the last message: the next one of the same goes over the same connection. */
  #route: string | null = null;

  readonly #client: Lines = {
    "forward.requested": ({ reason }) => {
      this.#route = null;
      return [`forward: start: ${reason}`];
    },
    "forward.idle": (event) => this.#idle(event),
    "forward.message": (event) => this.#message(event),
    "forward.abandoned": ({ id }) => this.#sent(id, "abandoned"),
    "forward.skipped": ({ id, why }) => this.#skipped(id, why),
    "smarthost.resolving": ({ address }) => [`resolving: ${slashed(address)}`],
    "smarthost.connecting": ({ address }) => [`connecting: ${address}`, ...this.#sending()],
    "smarthost.connected": ({ peer: { address, port } }) => [
      `connected: ${displayAddress(address, port)}`,
    ],
    "message.delivered": ({ id }) => this.#sent(id, ""),
    "message.failed": ({ id, delivery }) => this.#sent(id, delivery.text),
    "message.deferred": ({ id, delivery }) => this.#sent(id, delivery.text),
    "message.queued": ({ id, delivery }) => this.#sent(id, delivery.text),
  };

  /** The words of each line: "client: sending: emailrelay.1.2.3". */
  take(event: RelayEvent, cause: Cause): string[] {
    const change = this.network.take(event, cause);
    const network = change === null ? [] : [`network: ${change}`];
    // A flush shows its connections only.
    if (cause === "flush") return network;
    // The table's entry for a kind takes just that kind: TypeScript cannot follow it from here.
    const lines = this.#client[event.kind] as ((event: RelayEvent) => string[]) | undefined;
    const client = (lines?.(event) ?? []).map((words) => `client: ${words}`);
    // The end of a message comes before the end of its connection, the end of the run after it.
    return event.kind.startsWith("message.") ? [...client, ...network] : [...network, ...client];
  }

  #idle({ tried, error }: Of<"forward.idle">): string[] {
    this.#inHand.clear();
    this.#route = null;
    if (error !== "") return [`forward: end: ${oneLine(error)}`];
    return [tried === 0 ? "forward: end: no messages" : "forward: end"];
  }

  /** A message that needs a new connection is announced when that is being made. */
  #message({ id, selector, forwardToAddress }: Of<"forward.message">): string[] {
    const route = `${forwardToAddress} ${selector}`;
    const reuses = route === this.#route && this.network.sends;
    this.#route = route;
    this.#inHand.set(id, reuses ? "announced" : "waiting");
    return reuses ? [`sending: ${oneLine(id)}`] : [];
  }

  /** The message that has waited longest. */
  #sending(): string[] {
    for (const [id, state] of this.#inHand) {
      if (state !== "waiting") continue;
      this.#inHand.set(id, "announced");
      return [`sending: ${oneLine(id)}`];
    }
    return [];
  }

  /** Whoever was told of its beginning is told of its end. */
  #skipped(id: string, why: string): string[] {
    if (this.#inHand.get(id) === "announced") return this.#sent(id, why);
    this.#inHand.delete(id);
    return [];
  }

  #sent(id: string, failure: string): string[] {
    const shown = oneLine(id);
    const sending = this.#inHand.get(id) === "waiting" ? [`sending: ${shown}`] : [];
    this.#inHand.delete(id);
    return [...sending, failure === "" ? `sent: ${shown}` : `sent: ${shown}: ${oneLine(failure)}`];
  }
}

/** "localhost:25" as "localhost/25/ip". */
function slashed(address: string): string {
  return `${address.replace(/[:.](\d+)$/, "/$1")}/ip`;
}
