/** One line about one message: everything an operator greps for, as `name=value`, the peer's own words last. Pure. */

import { displayAddress } from "../core/endpoint.ts";
import type { Delivery, RelayEvent } from "../core/events.ts";

/** Recipients that are written out; the log's lines are cut at 1000 characters anyway. */
const MAX_RECIPIENTS = 20;

export function acceptance(event: Extract<RelayEvent, { kind: "message.accepted" }>): string {
  const { peer, from, to, bytes, account, tls, ms } = event;
  return fields({
    from: bracketed([from]),
    to: bracketed(to),
    size: String(bytes),
    client: displayAddress(peer.address, peer.port),
    tls: tls.replaceAll(" ", "/"),
    account,
    ms: String(Math.round(ms)),
  });
}

export function delivery(given: Delivery): string {
  const { from, to, bytes, smarthost, peer, tls, account, code, text, ms } = given;
  const known = fields({
    from: bracketed([from]),
    to: bracketed(to),
    size: String(bytes),
    smarthost,
    peer,
    tls: tls.replaceAll(" ", "/"),
    account,
    code: code === 0 ? "" : String(code),
    ms: String(Math.round(ms)),
  });
  return `${known} text="${text}"`;
}

function bracketed(addresses: readonly string[]): string {
  const shown = addresses.slice(0, MAX_RECIPIENTS).map((address) => `<${address}>`);
  const more = addresses.length - shown.length;
  return `${shown.join(",")}${more > 0 ? `,+${more}` : ""}`;
}

/** Nothing is written for what is not known. */
function fields(values: Readonly<Record<string, string>>): string {
  let known = "";
  for (const [name, value] of Object.entries(values)) {
    if (value !== "") known += known === "" ? `${name}=${value}` : ` ${name}=${value}`;
  }
  return known;
}
