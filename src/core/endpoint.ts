/** Network addresses as operators write them: "host:port", "[v6]:port", "/path", "far:port@socks:port". */

export type Endpoint =
  | {
      readonly kind: "ip";
      readonly host: string;
      readonly port: number;
      readonly socks: HostPort | null;
    }
  | { readonly kind: "unix"; readonly path: string };

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Service names that mean a port wherever a port is wanted (IANA). */
const SERVICES: Readonly<Record<string, number>> = {
  smtp: 25,
  mail: 25,
  submission: 587,
  smtps: 465,
  submissions: 465,
  urd: 465,
  ssmtp: 465,
  pop3: 110,
  "pop-3": 110,
  pop3s: 995,
  lmtp: 24,
  spamd: 783,
};

/** A port number 0..65535 from digits or a service name; null when it is neither. */
export function parsePort(text: string): number | null {
  if (/^\d{1,5}$/.test(text)) {
    const port = Number(text);
    return port <= 65535 ? port : null;
  }
  return Object.hasOwn(SERVICES, text.toLowerCase())
    ? (SERVICES[text.toLowerCase()] ?? null)
    : null;
}

/** Null when the text is none of the forms. A port is required. */
export function parseEndpoint(text: string): Endpoint | null {
  if (text.startsWith("/")) return text.length > 1 ? { kind: "unix", path: text } : null;
  const at = text.lastIndexOf("@");
  const near = at < 0 ? null : parseHostPort(text.slice(at + 1));
  const far = parseHostPort(at < 0 ? text : text.slice(0, at));
  if (far === null || (at >= 0 && near === null)) return null;
  return { kind: "ip", ...far, socks: near };
}

function parseHostPort(text: string): HostPort | null {
  const bracketed = /^\[([0-9A-Fa-f:.%\w]+)\]:([\w-]+)$/.exec(text);
  // E-MailRelay also writes an IPv6 address as "::1.25" or "::1:25".
  const dotted = bracketed ?? /^([0-9A-Fa-f:]*:[0-9A-Fa-f:]*)[.:]([\w-]+)$/.exec(text);
  const plain = dotted ?? /^([^\s:@/[\]]+):([\w-]+)$/.exec(text);
  const [, host = "", service = ""] = plain ?? [];
  const port = parsePort(service);
  return host === "" || port === null ? null : { host, port };
}

/** For logs: "127.0.0.1:25", "::1.25" (IPv6), a path as it is. Source: observed, E-MailRelay 2.6. */
export function displayAddress(host: string, port: number): string {
  if (host.startsWith("/")) return host;
  return host.includes(":") ? `${host}.${port}` : `${host}:${port}`;
}

/** An IPv4 address that arrived on an IPv6 socket, as IPv4. */
export function plainIp(ip: string): string {
  return ip.startsWith("::ffff:") && ip.includes(".") ? ip.slice(7) : ip;
}
