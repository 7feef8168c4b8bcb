/** Refuses to forward to oneself: each message would come back until it has too many Received lines. */
import type { ForwardConfig, ListenerConfig } from "../core/config.ts";
import { displayAddress, parseEndpoint } from "../core/endpoint.ts";
import { RelayError } from "../core/errors.ts";
import { places } from "../io/bind.ts";
import { isOwnListener } from "../io/own-listener.ts";

/** `listening`: addresses of the instance's SMTP server. Throws CONFIG_CONFLICT. */
export function refuseLoops(forward: ForwardConfig | null, listening: readonly string[]): void {
  for (const text of loopFaults(forward, listening)) {
    throw new RelayError("CONFIG_CONFLICT", "--forward-to", text);
  }
}

/** One line for each smarthost that is this relay itself. Names are looked up only when they are connected to. */
export function loopFaults(
  forward: ForwardConfig | null,
  listening: readonly string[],
): readonly string[] {
  if (forward === null) return [];
  return [forward.to, ...forward.fallbacks].flatMap((address) => {
    const far = parseEndpoint(address);
    if (far === null || !isOwnListener(far, listening)) return [];
    return [`cannot forward to "${address}": this relay itself listens there`];
  });
}

/** Where a server with these settings would listen, as far as they tell: inherited sockets have addresses of their own. */
export function wouldListen({ interfaces, port }: ListenerConfig): readonly string[] {
  return places(interfaces, () => undefined).flatMap((place) => {
    if (place.kind === "fd") return [];
    return [place.kind === "unix" ? place.path : displayAddress(place.host, port)];
  });
}
