/** Refuses to forward to oneself: each message would come back until it has too many Received lines. */
import type { ForwardConfig } from "../core/config.ts";
import { parseEndpoint } from "../core/endpoint.ts";
import { RelayError } from "../core/errors.ts";
import { isOwnListener } from "../io/own-listener.ts";

/** `listening`: addresses of the instance's SMTP server. Names are looked up only when they are connected to. Throws CONFIG_CONFLICT. */
export function refuseLoops(forward: ForwardConfig | null, listening: readonly string[]): void {
  if (forward === null) return;
  for (const address of [forward.to, ...forward.fallbacks]) {
    const far = parseEndpoint(address);
    if (far === null || !isOwnListener(far, listening)) continue;
    const text = `cannot forward to "${address}": this relay itself listens there`;
    throw new RelayError("CONFIG_CONFLICT", "--forward-to", text);
  }
}
