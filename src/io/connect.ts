/** Gets a connection to a far end: a literal address, a name, a unix socket, or through a proxy. */
import { type LookupAddress, lookup } from "node:dns";
import { createConnection, isIP, type Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { displayAddress, type Endpoint } from "../core/endpoint.ts";
import type { Peer } from "../core/events.ts";
import { askSocks } from "./socks.ts";

export interface ConnectSteps {
  resolving(address: string): void;
  connecting(address: string): void;
}

export interface ConnectTerms {
  /** Local address; "0.0.0.0" and "::" only choose the family; null: any. */
  readonly interface: string | null;
  /** For resolving and connecting together; 0 for no limit. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Is told of each step before it is taken. */
  readonly steps?: ConnectSteps;
}

export type Connected =
  | { readonly kind: "connected"; readonly socket: Socket; readonly peer: Peer }
  | { readonly kind: "failed"; readonly why: string };

interface Address {
  readonly host: string;
  readonly port: number;
}

const ANY: readonly string[] = ["0.0.0.0", "::"];

/**
 * Rejects only when the signal is aborted. The socket has an error listener already: whoever uses it
 * learns of trouble from "close".
 */
export async function connect(endpoint: Endpoint, terms: ConnectTerms): Promise<Connected> {
  terms.signal.throwIfAborted();
  const started = terms.clock.monotonic();
  const left = (): number => terms.timeoutMs - (terms.clock.monotonic() - started);
  if (endpoint.kind === "unix") return await unixSocket(endpoint.path, terms);

  const near = endpoint.socks ?? endpoint;
  const found = isIP(near.host)
    ? [near.host]
    : await withTimeout(resolve(near, terms), terms, terms.timeoutMs);
  if (found === null) return { kind: "failed", why: noHost(near.host, "timed out") };
  if (typeof found === "string") return { kind: "failed", why: found };

  let failure: Connected = { kind: "failed", why: noHost(near.host, "no address") };
  for (const [index, host] of found.entries()) {
    const share = terms.timeoutMs > 0 ? Math.max(1, left() / (found.length - index)) : 0;
    const attempt = await tcp({ host, port: near.port }, endpoint, share, terms);
    if (attempt.kind === "connected") return attempt;
    if (index === 0) failure = attempt;
  }
  return failure;
}

/** The name's addresses, of the family of our own address if that is given; or an error text. */
async function resolve(near: Address, terms: ConnectTerms): Promise<string[] | string> {
  const own = terms.interface === null ? 0 : isIP(terms.interface);
  terms.steps?.resolving(displayAddress(near.host, near.port));
  return await new Promise((done) => {
    lookup(near.host, { all: true, family: own, verbatim: true }, (error, all: LookupAddress[]) => {
      if (error === null) done(all.map(({ address }) => address));
      else done(noHost(near.host, reasonOf(error)));
    });
  });
}

const noHost = (host: string, reason: string): string =>
  `dns error: no such host: "${host}" (${reason})`;

/** As gai_strerror() says it. */
function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOTFOUND") return "Name or service not known";
  if (error.code === "EAI_AGAIN") return "Temporary failure in name resolution";
  return error.code ?? error.message;
}

async function tcp(
  near: Address,
  endpoint: Extract<Endpoint, { kind: "ip" }>,
  timeoutMs: number,
  terms: ConnectTerms,
): Promise<Connected> {
  const shown = displayAddress(near.host, near.port);
  terms.steps?.connecting(shown);
  const socket = createConnection({
    host: near.host,
    port: near.port,
    localAddress: ownAddress(terms.interface),
    noDelay: true,
    keepAlive: true,
  });
  const made = await withTimeout(established(socket, endpoint), terms, timeoutMs, socket);
  return outcome(made, socket, { address: near.host, port: near.port }, shown, terms);
}

/** undefined: any. */
function ownAddress(wanted: string | null): string | undefined {
  return wanted === null || ANY.includes(wanted) ? undefined : wanted;
}

async function unixSocket(path: string, terms: ConnectTerms): Promise<Connected> {
  terms.steps?.connecting(path);
  const socket = createConnection({ path });
  const made = await withTimeout(established(socket, null), terms, terms.timeoutMs, socket);
  return outcome(made, socket, { address: "/", port: 0 }, path, terms);
}

function outcome(
  made: Made | null,
  socket: Socket,
  peer: Peer,
  shown: string,
  terms: ConnectTerms,
): Connected {
  if (made?.ok === true) return { kind: "connected", socket, peer };
  socket.destroy();
  const cannot = `connect failure: cannot connect to ${shown}`;
  if (made === null) {
    return { kind: "failed", why: `${cannot}: timed out out after ${terms.timeoutMs / 1000}s` };
  }
  return { kind: "failed", why: made.why ?? cannot };
}

type Made = { readonly ok: true } | { readonly ok: false; readonly why: string | null };

/** Resolves when the far end can be talked to; an error listener stays, so that no late error is uncaught. */
async function established(
  socket: Socket,
  endpoint: Extract<Endpoint, { kind: "ip" }> | null,
): Promise<Made> {
  const failure = await new Promise<NodeJS.ErrnoException | null>((done) => {
    socket.once("connect", () => done(null)).on("error", done);
  });
  if (failure !== null) {
    const unbound = failure.code === "EADDRNOTAVAIL" && failure.syscall === "bind";
    return { ok: false, why: unbound ? `connect failure: ${failure.message}` : null };
  }
  if (endpoint === null || endpoint.socks === null) return { ok: true };
  const refusal = await askSocks(socket, endpoint);
  return refusal === null ? { ok: true } : { ok: false, why: refusal };
}

/** Null when it takes too long. Rejects, with the socket destroyed, when the signal is aborted. */
async function withTimeout<T>(
  work: Promise<T>,
  { signal }: ConnectTerms,
  ms: number,
  socket?: Socket,
): Promise<T | null> {
  return await new Promise<T | null>((resolve, reject) => {
    const timer = ms > 0 ? setTimeout(() => resolve(null), ms) : null;
    const abort = (): void => {
      if (timer !== null) clearTimeout(timer);
      socket?.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => {
      if (timer !== null) clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    });
  });
}
