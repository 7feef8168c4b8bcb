/** Our end of a connection, as it is shown to people. */
import type { Socket } from "node:net";
import { displayAddress, plainIp } from "../core/endpoint.ts";

/** "127.0.0.1:25"; "/" for a unix socket, and for a connection that is gone already. */
export function localEnd({ localAddress, localPort }: Socket): string {
  if (localAddress === undefined) return "/";
  return displayAddress(plainIp(localAddress), localPort ?? 0);
}
