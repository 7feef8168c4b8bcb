/** How many connections each client has at the moment, so that one of them cannot take them all. */
import { isIPv6 } from "node:net";

export class ClientCount {
  readonly #limit: number;
  readonly #connections = new Map<string, number>();

  /** `limit` is for each client; 0 for none. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** False when the client has its share already; otherwise `leave` must follow some day. */
  enter(address: string): boolean {
    const client = clientOf(address);
    if (client === null || this.#limit === 0) return true;
    const count = this.#connections.get(client) ?? 0;
    if (count >= this.#limit) return false;
    this.#connections.set(client, count + 1);
    return true;
  }

  leave(address: string): void {
    const client = clientOf(address);
    if (client === null) return;
    const count = this.#connections.get(client) ?? 0;
    if (count > 1) this.#connections.set(client, count - 1);
    else this.#connections.delete(client);
  }
}

/**
 * Who is one client: an IPv4 address, or a /64 network of IPv6, in which one host can have any address.
 * null for this machine's own programs, which are many clients with one address.
 */
function clientOf(address: string): string | null {
  if (address.startsWith("/") || address.startsWith("127.") || address === "::1") return null;
  return isIPv6(address) ? network64(address) : address;
}

/** The first four groups, "0" for those that "::" stands for. */
function network64(address: string): string {
  const [ip = ""] = address.split("%");
  const [head = "", tail] = ip.split("::");
  const before = head === "" ? [] : head.split(":");
  if (tail === undefined) return before.slice(0, 4).join(":");
  const after = tail === "" ? [] : tail.split(":");
  // An IPv4 address at the end stands for two groups.
  const size = before.length + after.length + (tail.includes(".") ? 1 : 0);
  const zeros = Array.from({ length: Math.max(0, 8 - size) }, () => "0");
  return [...before, ...zeros, ...after].slice(0, 4).join(":");
}
