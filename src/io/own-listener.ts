/** Whether a far end is one of our own listeners: mail that goes there comes back for ever. Pure but for the system's addresses. */
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { type Endpoint, plainIp } from "../core/endpoint.ts";

/**
 * `listening` are addresses as logged ("127.0.0.1:25", "::.25", "/run/smtp"), those of the same instance: that
 * one instance forwards to another is a use. `ours` are the addresses of this machine. A name is not looked up.
 */
export function isOwnListener(
  far: Endpoint,
  listening: readonly string[],
  ours: readonly string[] = ownAddresses(),
): boolean {
  if (far.kind === "unix") return listening.includes(far.path);
  // What a proxy can reach we do not know.
  if (far.socks !== null) return false;
  const host = far.host.toLowerCase() === "localhost" ? "127.0.0.1" : plainIp(far.host);
  const family = isIP(host);
  if (family === 0) return false;
  const here = isLoopback(host) || ours.some((address) => sameAddress(address, host));
  return listening.some((one) => {
    const [, address = "", port = ""] = /^(.*)[.:](\d+)$/.exec(one) ?? [];
    if (Number(port) !== far.port) return false;
    if (address === "0.0.0.0") return family === 4 && here;
    if (address === "::") return family === 6 && here;
    return sameAddress(address, host);
  });
}

function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return all.map(({ address }) => address);
}

/** "0.0.0.0" and "::" as a destination are this machine too. */
function isLoopback(host: string): boolean {
  return host.startsWith("127.") || ["::1", "::", "0.0.0.0"].includes(host);
}

function sameAddress(one: string, other: string): boolean {
  return canonical(one) === canonical(other);
}

function canonical(ip: string): string {
  const [address = ""] = ip.split("%");
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname : address;
}
