/** What block lists are asked about a client, and what their answers mean. Pure. Source: R7.8, RFC 5782 2. */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import type { DnsQuestion } from "../io/dns-message.ts";

/** The client's address without zone, IPv4 wherever it is one; null for what is no IP address. */
export function clientAddress(address: string): string | null {
  const [ip = ""] = address.split("%");
  if (isIPv4(ip)) return ip;
  if (!isIPv6(ip)) return null;
  const mapped = /^0{20}f{4}(..)(..)(..)(..)$/.exec(groupsOf(ip).join(""));
  if (mapped === null) return ip;
  const bytes = mapped.slice(1).map((hex) => Number.parseInt(hex, 16));
  return bytes.join(".");
}

/** What goes in front of a list's name: "4.3.2.1", or the 32 digits of an IPv6 address. */
export function reversedAddress(client: string): string {
  if (isIPv4(client)) return client.split(".").toReversed().join(".");
  return [...groupsOf(client).join("")].toReversed().join(".");
}

/** Eight groups of four hex digits. */
function groupsOf(ip: string): string[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip);
  const hex = dotted === null ? ip : `${dotted[1]}${pair(dotted, 2)}:${pair(dotted, 4)}`;
  const [head = "", tail = ""] = hex.toLowerCase().split("::");
  const before = head.split(":").filter((group) => group !== "");
  const after = tail.split(":").filter((group) => group !== "");
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].map((group) => group.padStart(4, "0"));
}

function pair(match: RegExpExecArray, at: number): string {
  return (Number(match[at]) * 256 + Number(match[at + 1])).toString(16);
}

/**
 * IPv6 clients are asked about in both ways: E-MailRelay asks for AAAA, and the lists of the world
 * answer with A (RFC 5782 2.4).
 */
export function questionTypes(client: string): readonly DnsQuestion["type"][] {
  return isIPv4(client) ? ["A"] : ["A", "AAAA"];
}

/**
 * What one address in an answer means. A list answers from 127.0.0.0/8, or with a local IPv6
 * address. Public addresses come from resolvers that have an answer to everything; 127.255.255.x
 * says that the list does not serve us, which must not keep everybody's mail away.
 */
export function meaningOf(address: string): "listed" | "error" | "nothing" {
  const v4 = address.replace(/^::ffff:(?=\d+\.)/, "");
  if (v4.startsWith("127.255.255.")) return "error";
  if (v4 === "::") return "nothing";
  return LISTED.check(v4, isIPv4(v4) ? "ipv4" : "ipv6") ? "listed" : "nothing";
}

const LISTED = listed();

function listed(): BlockList {
  const list = new BlockList();
  list.addSubnet("127.0.0.0", 8, "ipv4");
  list.addSubnet("::", 96, "ipv6");
  list.addSubnet("fc00::", 7, "ipv6");
  return list;
}
