/** SOCKS 4a: asks a proxy for a connection to a host that the proxy resolves. Source: R11, B.13. */
import type { Socket } from "node:net";
import type { HostPort } from "../core/endpoint.ts";

const REPLY_BYTES = 8;
const GRANTED = 0x5a;

/** 04 01, port, the address 0.0.0.1 that means "a name follows", an empty user, the name. */
export function socksRequest({ host, port }: HostPort): Buffer {
  const head = Buffer.from([4, 1, port >> 8, port & 0xff, 0, 0, 0, 1, 0]);
  return Buffer.concat([head, Buffer.from(host), Buffer.from([0])]);
}

/**
 * Resolves to null when the proxy has connected the far host, else to what went wrong. Bytes of the
 * far host that came with the proxy's answer stay in the socket.
 */
export async function askSocks(socket: Socket, far: HostPort): Promise<string | null> {
  socket.write(socksRequest(far));
  let heard: Buffer = Buffer.alloc(0);
  while (heard.length < REPLY_BYTES) {
    const more = await read(socket);
    if (more === null) return "socks error: proxy disconnected";
    heard = Buffer.concat([heard, more]);
  }
  if (heard[0] !== 0 || heard[1] !== GRANTED) {
    return `socks error: connection to ${far.host}:${far.port} refused by the proxy`;
  }
  if (heard.length > REPLY_BYTES) socket.unshift(heard.subarray(REPLY_BYTES));
  return null;
}

/** The next bytes, or null at the end. Leaves the socket paused. */
async function read(socket: Socket): Promise<Buffer | null> {
  return await new Promise((resolve) => {
    const done = (result: Buffer | null): void => {
      socket.pause();
      socket.off("data", done).off("end", ended).off("close", ended);
      resolve(result);
    };
    const ended = (): void => done(null);
    socket.on("data", done).on("end", ended).on("close", ended);
    socket.resume();
  });
}
