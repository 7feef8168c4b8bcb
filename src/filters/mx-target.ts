/** What a message's routing domain asks for, before anything is looked up. Pure. Source: R9.2 "mx:". */
import { isIPv4, isIPv6 } from "node:net";
import { type HostPort, parsePort } from "../core/endpoint.ts";
import { decodeXtext } from "../core/xtext.ts";
import { asciiDomain } from "../io/ascii-domain.ts";
import { isDnsName } from "../io/dns-message.ts";

const SMTP_PORT = 25;

/**
 * "[user@]domain[:port]", "[1.2.3.4]" or "[IPv6:...]" as xtext; null when it is none of them. The
 * host is a name in ASCII, an address, or "" when there is nothing to look up.
 */
export function parseMxTarget(xtext: string): HostPort | null {
  const text = decodeXtext(xtext) ?? xtext;
  const domain = text.slice(text.lastIndexOf("@") + 1);
  if (isIPv6(domain)) return { host: domain, port: SMTP_PORT };
  const found = /^(\[[^\]]*\]|[^:[\]]*)(?::([^:]*))?$/.exec(domain);
  if (found === null) return null;
  const [, place = "", service] = found;
  const port = service === undefined ? SMTP_PORT : parsePort(service);
  const host = place.startsWith("[") ? literal(place.slice(1, -1)) : hostName(place);
  return host === null || port === null || port === 0 ? null : { host, port };
}

/** RFC 5321 4.1.3; the tag may be missing, as in addresses that people write. */
function literal(text: string): string | null {
  const address = text.replace(/^IPv6:/i, "");
  return isIPv6(address) || (address === text && isIPv4(address)) ? address : null;
}

/** "" stays "": recipients like "postmaster" have no domain, and so no routing domain. */
function hostName(name: string): string | null {
  const ascii = asciiDomain(name);
  return ascii !== null && (ascii === "" || isDnsName(ascii)) ? ascii : null;
}
