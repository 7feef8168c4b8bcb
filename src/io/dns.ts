/** Asks one DNS server one question: over UDP, and over TCP when the answer does not fit. */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns";
import { createConnection, isIP } from "node:net";
import { displayAddress, type HostPort, parseEndpoint } from "../core/endpoint.ts";
import { type DnsAnswer, type DnsQuestion, decodeAnswer, encodeQuery } from "./dns-message.ts";

const DNS_PORT = 53;

/** "ip", "ip:port", "[v6]" or "[v6]:port"; null when it is none of them. */
export function parseDnsServer(text: string): HostPort | null {
  const bare = /^\[([^\]]*)\]$/.exec(text)?.[1] ?? text;
  if (isIP(bare) !== 0) return { host: bare, port: DNS_PORT };
  const endpoint = parseEndpoint(text);
  if (endpoint === null || endpoint.kind === "unix" || endpoint.socks !== null) return null;
  const usable = isIP(endpoint.host) !== 0 && /\d$/.test(text) && endpoint.port !== 0;
  return usable ? { host: endpoint.host, port: endpoint.port } : null;
}

/** Those of /etc/resolv.conf as it is now; our own machine when there are none. */
export function systemDnsServers(): readonly [HostPort, ...HostPort[]] {
  const servers = new Resolver().getServers().map((text) => parseDnsServer(text));
  const [first = { host: "127.0.0.1", port: DNS_PORT }, ...others] = servers.filter(
    (server) => server !== null,
  );
  return [first, ...others];
}

export interface DnsTerms {
  /** Sends the question once more after so many milliseconds, as UDP may lose it; 0: never. */
  readonly resendMs: number;
  readonly signal: AbortSignal;
}

interface Query {
  readonly id: number;
  readonly question: DnsQuestion;
  readonly bytes: Buffer;
  readonly server: HostPort;
}

/**
 * The server's answer, whatever it says. Waits until the signal is aborted; rejects then, and when
 * the server cannot be reached. Everything that is not an answer to this question is overlooked.
 */
export async function askDns(
  question: DnsQuestion,
  server: HostPort,
  terms: DnsTerms,
): Promise<DnsAnswer> {
  terms.signal.throwIfAborted();
  const id = randomInt(0x1_0000);
  const bytes = encodeQuery(id, question);
  if (bytes === null) throw new Error(`Cannot ask for "${question.name}": it is not a domain name`);
  const query: Query = { id, question, bytes, server };
  const answer = await overUdp(query, terms);
  return answer.truncated ? await overTcp(query, terms.signal) : answer;
}

/** The socket is connected, so that the system throws away what comes from anywhere else. */
async function overUdp(query: Query, { resendMs, signal }: DnsTerms): Promise<DnsAnswer> {
  const { id, question, bytes, server } = query;
  const socket = createSocket(isIP(server.host) === 6 ? "udp6" : "udp4");
  let again: NodeJS.Timeout | null = null;
  let abort = (): void => undefined;
  try {
    return await new Promise<DnsAnswer>((resolve, reject) => {
      const send = (): void => {
        socket.send(bytes, (error) => {
          if (error !== null) reject(unreachable(server, error));
        });
      };
      abort = () => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      socket.on("error", (error) => reject(unreachable(server, error)));
      socket.on("message", (datagram) => {
        const answer = decodeAnswer(datagram, id, question);
        if (answer !== null) resolve(answer);
      });
      socket.once("connect", send);
      socket.connect(server.port, server.host);
      if (resendMs > 0) again = setTimeout(send, resendMs);
    });
  } finally {
    if (again !== null) clearTimeout(again);
    signal.removeEventListener("abort", abort);
    socket.close();
  }
}

/** RFC 1035 4.2.2: each message after its length. */
async function overTcp(query: Query, signal: AbortSignal): Promise<DnsAnswer> {
  const { id, question, bytes, server } = query;
  signal.throwIfAborted();
  const socket = createConnection({ host: server.host, port: server.port });
  const abort = (): void => {
    socket.destroy();
  };
  signal.addEventListener("abort", abort, { once: true });
  try {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(bytes.length);
    socket.write(Buffer.concat([length, bytes]));
    const answer = decodeAnswer(await framed(socket), id, question);
    if (answer !== null && !answer.truncated) return answer;
    throw new Error("not an answer to the question");
  } catch (error) {
    signal.throwIfAborted();
    throw unreachable(server, error);
  } finally {
    signal.removeEventListener("abort", abort);
    socket.destroy();
  }
}

/** The first message, without its length. */
async function framed(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const received: Buffer[] = [];
  let size = 0;
  let wanted = 2;
  for await (const chunk of chunks) {
    received.push(chunk);
    size += chunk.length;
    if (size < wanted) continue;
    const bytes = Buffer.concat(received);
    wanted = bytes.readUInt16BE(0) + 2;
    if (size >= wanted) return bytes.subarray(2, wanted);
  }
  throw new Error("connection closed");
}

function unreachable({ host, port }: HostPort, cause: unknown): Error {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : null;
  const why = code ?? (cause instanceof Error ? cause.message : String(cause));
  return new Error(`no answer from dns server ${displayAddress(host, port)}: ${why}`, { cause });
}
