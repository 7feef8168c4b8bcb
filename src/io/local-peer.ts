/** Who may connect without --remote-clients. */
import { BlockList, isIPv6 } from "node:net";
import type { ServerKind } from "../core/events.ts";

/** Why this client of one of our servers is not served; null when it is local. Source: R7.1; these ranges exactly. */
export function remoteReason(address: string, server: ServerKind): string | null {
  if (isLocal(address)) return null;
  const ranges = isIPv6(address)
    ? "::1/128 or fe80::/64 or fc00::/7"
    : "127.0.0.0/8, 169.254.0.0/16, 10.0.0.0/8, 172.16.0.0/12, or 192.168.0.0/16";
  return `configured to reject non-local ${server} connection: ${address} is not in ${ranges}`;
}

/** `address` is an IP address, or a path for a unix socket, which is always local. */
function isLocal(address: string): boolean {
  if (address.startsWith("127.") || address.startsWith("/")) return true;
  const [ip = ""] = address.split("%");
  return LOCAL.check(ip, isIPv6(ip) ? "ipv6" : "ipv4");
}

const LOCAL = localRanges();

function localRanges(): BlockList {
  const list = new BlockList();
  list.addSubnet("127.0.0.0", 8, "ipv4");
  list.addSubnet("169.254.0.0", 16, "ipv4");
  list.addSubnet("10.0.0.0", 8, "ipv4");
  list.addSubnet("172.16.0.0", 12, "ipv4");
  list.addSubnet("192.168.0.0", 16, "ipv4");
  list.addSubnet("::1", 128, "ipv6");
  list.addSubnet("fe80::", 64, "ipv6");
  list.addSubnet("fc00::", 7, "ipv6");
  return list;
}
