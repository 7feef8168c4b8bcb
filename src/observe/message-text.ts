/** One line about one message: everything an operator greps for, as `name=value`, the peer's own words last. Pure. */

import { displayAddress } from "../core/endpoint.ts";
import type { Delivery, RelayEvent } from "../core/events.ts";

/** Recipients that are written out; the log's lines are cut at 1000 characters anyway. */
const MAX_RECIPIENTS = 20;

export function acceptance(event: Extract<RelayEvent, { kind: "message.accepted" }>): string {
  const { peer, from, to, bytes, account, tls, ms } = event;
  const client = displayAddress(peer.address, peer.port);
  return (
    `from=<${from}>${field("to", bracketed(to))} size=${bytes} client=${client}` +
    `${field("tls", tls.replaceAll(" ", "/"))}${field("account", account)} ms=${Math.round(ms)}`
  );
}

export function delivery(given: Delivery): string {
  const { from, to, bytes, smarthost, peer, tls, account, code, text, ms } = given;
  return (
    `from=<${from}>${field("to", bracketed(to))} size=${bytes}` +
    `${field("smarthost", smarthost)}${field("peer", peer)}` +
    `${field("tls", tls.replaceAll(" ", "/"))}${field("account", account)}` +
    `${code === 0 ? "" : ` code=${code}`} ms=${Math.round(ms)} text="${text}"`
  );
}

function bracketed(addresses: readonly string[]): string {
  let shown = "";
  for (const address of addresses.slice(0, MAX_RECIPIENTS)) {
    shown += shown === "" ? `<${address}>` : `,<${address}>`;
  }
  const more = addresses.length - MAX_RECIPIENTS;
  return more > 0 ? `${shown},+${more}` : shown;
}

/** Nothing is written for what is not known. */
function field(name: string, value: string): string {
  return value === "" ? "" : ` ${name}=${value}`;
}
