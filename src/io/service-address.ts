/** Where a service that filters or verifiers ask is: parsing, and how it is shown. */
import { displayAddress, type Endpoint, parseEndpoint } from "../core/endpoint.ts";
import { RelayError } from "../core/errors.ts";

/** "host:port", "[v6]:port", "host:service" or an absolute path. Throws CONFIG_INVALID. */
export function serviceEndpoint(address: string): Endpoint {
  const endpoint = parseEndpoint(address);
  const usable = endpoint !== null && (endpoint.kind === "unix" || endpoint.port !== 0);
  if (usable) return endpoint;
  throw new RelayError(
    "CONFIG_INVALID",
    "",
    `invalid network address "${address}": expected host:port or an absolute path`,
  );
}

/** As E-MailRelay names it: "127.0.0.1/783/ip"; the path of a unix socket. Source: R9. */
export function serviceId(endpoint: Endpoint): string {
  return endpoint.kind === "unix" ? endpoint.path : `${endpoint.host}/${endpoint.port}/ip`;
}

/** The far end of a connection to it. */
export function shownPeer(
  endpoint: Endpoint,
  peer: { readonly address: string; readonly port: number },
): string {
  return endpoint.kind === "unix" ? endpoint.path : displayAddress(peer.address, peer.port);
}
