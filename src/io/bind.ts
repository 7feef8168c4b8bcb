/** Opens listening sockets: wildcards, addresses, unix sockets, inherited descriptors, named devices. */
import { chmodSync, chownSync, lstatSync, unlinkSync } from "node:fs";
import { connect, type ListenOptions, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import type { Interface } from "../core/config.ts";
import { displayAddress } from "../core/endpoint.ts";
import { isErrno, RelayError } from "../core/errors.ts";
import { systemText } from "./system-text.ts";

/** Connections that may wait to be accepted. */
const BACKLOG = 511;

/** One socket to open. */
export type Place =
  | { readonly kind: "ip"; readonly host: string; readonly optional: boolean }
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "fd"; readonly fd: number };

/** What the configured interfaces mean now. `warn` is told of a device without addresses, for which every address is taken. */
export function places(interfaces: readonly Interface[], warn: (text: string) => void): Place[] {
  if (interfaces.length === 0) return wildcards();
  return interfaces.flatMap((one) => placesOf(one, warn));
}

function placesOf(one: Interface, warn: (text: string) => void): Place[] {
  switch (one.kind) {
    case "address":
      return [{ kind: "ip", host: one.host, optional: false }];
    case "unix":
    case "fd":
      return [one];
    case "device":
      return devicePlaces(one, warn);
  }
}

/** IPv6 is left out where the system has none. */
function wildcards(): Place[] {
  return [
    { kind: "ip", host: "0.0.0.0", optional: false },
    { kind: "ip", host: "::", optional: true },
  ];
}

function devicePlaces(
  { name, family }: Extract<Interface, { kind: "device" }>,
  warn: (text: string) => void,
): Place[] {
  const wanted = family === null ? null : `IPv${family}`;
  const found = (networkInterfaces()[name] ?? []).filter(
    (address) => wanted === null || address.family === wanted,
  );
  if (found.length === 0) {
    warn(`no addresses bound to named network interface "${name}"`);
    return wildcards();
  }
  return found.map(({ address }) => {
    const host = /^fe80:/i.test(address) ? `${address}%${name}` : address;
    return { kind: "ip", host, optional: false };
  });
}

/** Group and rights of unix sockets. */
export interface UnixRights {
  readonly mode: number;
  /** null: as it is. */
  readonly group: number | null;
}

/** Listens there. Resolves to false where an optional place does not exist. Throws BIND. */
export async function bind(
  server: Server,
  place: Place,
  port: number,
  rights: UnixRights,
): Promise<boolean> {
  try {
    await listen(server, place, port);
  } catch (error) {
    if (isMissing(place, error)) return false;
    if (!(await isStaleSocket(place, error))) throw bindError(place, port, error);
    await listenAgain(server, place, port);
  }
  if (place.kind === "unix") grant(place.path, rights);
  return true;
}

/** The address as logged. */
export function boundAddress(server: Server): string {
  const address = server.address();
  if (address === null) return "";
  if (typeof address === "string") return address;
  return displayAddress(address.address, address.port);
}

function listen(server: Server, place: Place, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ ...listenOptions(place, port), backlog: BACKLOG }, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

function listenOptions(place: Place, port: number): ListenOptions & { fd?: number } {
  switch (place.kind) {
    case "ip":
      return { host: place.host, port, ipv6Only: true };
    case "unix":
      return { path: place.path };
    case "fd":
      return { fd: place.fd };
  }
}

/** A socket file whose owner died is in the way of nobody. */
async function isStaleSocket(place: Place, error: unknown): Promise<boolean> {
  if (place.kind !== "unix" || !isErrno(error, "EADDRINUSE")) return false;
  const file = lstatSync(place.path, { throwIfNoEntry: false });
  return file?.isSocket() === true && !(await somebodyListens(place.path));
}

async function listenAgain(server: Server, place: Place, port: number): Promise<void> {
  try {
    if (place.kind === "unix") unlinkSync(place.path);
    await listen(server, place, port);
  } catch (error) {
    throw bindError(place, port, error);
  }
}

function somebodyListens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => resolve(!isErrno(error, "ECONNREFUSED", "ENOENT")));
  });
}

function grant(path: string, { mode, group }: UnixRights): void {
  try {
    if (group !== null) chownSync(path, -1, group);
    chmodSync(path, mode);
  } catch (error) {
    const text = `cannot set the rights of the socket: ${path}: ${systemText(error)}`;
    throw new RelayError("BIND", path, text, { cause: error });
  }
}

function isMissing(place: Place, error: unknown): boolean {
  return place.kind === "ip" && place.optional && isErrno(error, "EAFNOSUPPORT", "EADDRNOTAVAIL");
}

function bindError(place: Place, port: number, error: unknown): RelayError {
  const where = placeName(place, port);
  const text = `socket bind error: ${systemText(error)}: ${where}`;
  return new RelayError("BIND", where, text, { cause: error });
}

function placeName(place: Place, port: number): string {
  if (place.kind === "ip") return displayAddress(place.host, port);
  return place.kind === "unix" ? place.path : `fd#${place.fd}`;
}
