/** Where an admin server is to be found, from what was typed or from the daemon's configuration. Pure. */
import { parseEndpoint, parsePort } from "../core/endpoint.ts";

export type Place = { readonly host: string; readonly port: number } | { readonly path: string };

/** An option of a configuration file. */
export interface Setting {
  /** Maybe with the prefix of an instance: "in-admin". */
  readonly name: string;
  readonly value: string | null;
}

/** "host:port", "[v6]:port", a port of this machine, or the path of a unix socket; null when it is none of them. */
export function parsePlace(text: string): Place | null {
  const own = parsePort(text);
  if (own !== null) return { host: LOOPBACK, port: own };
  const endpoint = parseEndpoint(text);
  if (endpoint === null || endpoint.kind === "unix") return endpoint;
  return endpoint.socks === null ? { host: endpoint.host, port: endpoint.port } : null;
}

/** Of the first instance that has an admin server; null when none has. */
export function configuredPlace(settings: readonly Setting[]): Place | null {
  const admin = settings.find(({ name }) => name === "admin" || name.endsWith("-admin"));
  const port = parsePort(admin?.value ?? "");
  if (admin === undefined || port === null) return null;
  const prefix = admin.name.slice(0, -"admin".length);
  const items = settings
    .filter(({ name }) => name === `${prefix}interface`)
    .flatMap(({ value }) => (value ?? "").split(","))
    .flatMap((item) => forAdmin(item.trim()));
  return reachable(items[0] ?? "", port);
}

const LOOPBACK = "127.0.0.1";

/** Without the qualifier; nothing for an item that is for another server. */
function forAdmin(item: string): string[] {
  const [, qualifier = "admin", address = item] = /^(smtp|pop|admin)=(.*)$/s.exec(item) ?? [];
  return qualifier === "admin" ? [address] : [];
}

/** Descriptors and named devices say nothing of their addresses: tried on the loopback. */
function reachable(address: string, port: number): Place {
  if (address.startsWith("/")) return { path: address };
  const bare = address.replace(/^\[(.*)\]$/, "$1");
  if (bare === "::") return { host: "::1", port };
  const literal = bare !== "0.0.0.0" && /^(?:[\d.]+|[\da-f.]*:[\da-f:.]*(?:%.+)?)$/i.test(bare);
  return { host: literal ? bare : LOOPBACK, port };
}
