/** What an event reads as for people: E-MailRelay's own lines, and a few of ours. Pure. Source: R7 to R13, B.11. */
import { displayAddress } from "../core/endpoint.ts";
import type { Level, Peer, RelayEvent } from "../core/events.ts";
import { acceptance, delivery } from "./message-text.ts";

export interface LogLine {
  readonly level: Level;
  /** How often --verbose must be given for it. */
  readonly verbosity: 0 | 1 | 2;
  readonly text: string;
}

type Of<Kind extends RelayEvent["kind"]> = Extract<RelayEvent, { kind: Kind }>;
type Texts = { readonly [Kind in RelayEvent["kind"]]: (event: Of<Kind>) => readonly LogLine[] };

/** The lines of an event, the most telling one first; never none. */
export function linesOf(event: RelayEvent): readonly LogLine[] {
  // The table has an entry for each kind that takes just that kind: TypeScript cannot follow it from here.
  const text = TEXTS[event.kind] as (event: RelayEvent) => readonly LogLine[];
  return text(event);
}

/** "127.0.0.1:25", "::1.25", "/". */
export function showPeer({ address, port }: Peer): string {
  return displayAddress(address, port);
}

const TEXTS: Texts = {
  // What the process does.
  "listener.opened": ({ server, address }) => [info(`${server} server on ${address}`)],
  "forward.configured": ({ address }) => [detail(`forwarding to ${address}`)],
  "secrets.reread": ({ path }) => [info(`re-reading secrets file: ${path}`)],
  "spool.recovered": ({ id, action }) => [info(`recovered [${id}]: ${action}`)],
  note: ({ level, detail: onlyVerbose, text }) => [{ level, verbosity: onlyVerbose ? 1 : 0, text }],

  // Sessions of clients.
  "session.opened": ({ server, peer }) => [info(`${server} connection from ${showPeer(peer)}`)],
  "session.refused": ({ peer, why }) => [
    warning(why),
    warning(`connection rejected from ${showPeer(peer)}`),
  ],
  "session.closed": ({ server, peer, why }) => [
    info(`${server} connection closed: ${why}: ${showPeer(peer)}`),
  ],
  "auth.accepted": ({ detail: how }) => [info(`successful authentication of remote client ${how}`)],
  "auth.refused": ({ peer, detail: how }) => [
    warning(`failed authentication of remote client ${how}`),
    warning(`client ${peer.address}: failed authentication`),
  ],
  "client.misbehaved": ({ peer, reason }) => [warning(`client ${peer.address}: ${reason}`)],
  "client.trusted": ({ peer, pattern, line }) => [
    info(`trusting [${peer.address}]: matched [${pattern}] from line ${line}`),
  ],
  "recipient.refused": ({ recipient, reply, why }) => [
    warning(`rejecting recipient "${recipient}": ${joined(reply.text, why)}`),
  ],

  // Both directions.
  "tls.established": ({ peer, protocol, cipher }) => [
    info(`tls protocol established with ${showPeer(peer)} protocol ${protocol} cipher ${cipher}`),
  ],
  "tls.failed": ({ why }) => [warning(`tls: tls error: ${why}`)],
  traffic: ({ direction, text }) => [
    detail(`${direction === "rx" ? "rx<<" : "tx>>"}: ${quoted(text)}`),
  ],

  // A message's way in.
  "content.created": ({ id }) => [detail(`new content file [${id}.content]`)],
  "envelope.created": ({ id }) => [detail(`new envelope file [${id}.envelope.new]`)],
  "message.accepted": (event) => [info(`accepted [${event.id}]: ${acceptance(event)}`)],
  "message.rejected": ({ id, reply, why }) => [
    warning(`rejecting message [${id}]: ${joined(`${reply.code} ${reply.text}`, why)}`),
  ],
  "message.abandoned": ({ id }) => [detail(`abandoned [${id}]: left to the filter`)],

  // A message's way out.
  "forward.requested": ({ reason }) => [detail(`forwarding: [${reason}]`)],
  "forward.busy": (event) => busy(event),
  "forward.idle": ({ tried }) => [
    detail(`forwarding: no ${tried === 0 ? "" : "more "}messages to send`),
  ],
  "forward.abandoned": ({ id }) => [detail(`abandoned [${id}]: left for another run`)],
  "forward.message": ({ id, selector, forwardTo, forwardToAddress }) => {
    const fields = [
      ["selector", selector],
      ["forward-to", forwardTo],
      ["forward-to-address", forwardToAddress],
    ].flatMap(([name, value]) => (value === "" ? [] : [` ${name}=[${value}]`]));
    return [detail(`forwarding [${id}]${fields.join("")}`)];
  },
  "smarthost.resolving": ({ address }) => [trace(`resolving ${address}`)],
  "smarthost.connecting": ({ address }) => [trace(`connecting to ${address}`)],
  "smarthost.connected": ({ peer }) => [info(`smtp connection to ${showPeer(peer)}`)],
  "smarthost.disconnected": ({ peer }) => [trace(`disconnected from ${showPeer(peer)}`)],
  "smarthost.authenticated": ({ tls, detail: how }) => [
    info(`successful authentication with remote server ${tls ? "over tls " : ""}${how}`),
  ],
  "smarthost.failed": ({ address, why }) => [warning(`${failing(address, why)}: ${why}`)],
  "message.delivered": ({ id, delivery: given }) => [
    info(`delivered [${id}]: ${delivery(given)}`),
    detail(`deleting envelope [${id}.envelope.busy]`),
    detail(`deleting content [${id}.content]`),
  ],
  "message.failed": ({ id, delivery: given }) => [
    warning(`failed [${id}]: ${delivery(given)}`),
    info(`failing envelope [${id}.envelope.busy] -> [${id}.envelope.bad]`),
  ],
  "message.deferred": ({ id, delivery: given, retrySeconds, unknown }) => [
    info(
      `deferred [${id}]: ${delivery(given)} retry=${retrySeconds}s` +
        (unknown ? ": no answer to the end of the message: it may arrive twice" : ""),
    ),
  ],
  "smarthost.paused": ({ address, why, seconds }) => [
    warning(`smarthost [${address}] paused for ${seconds}s, mail waits: ${why}`),
  ],
  "smarthost.resumed": ({ address }) => [info(`smarthost [${address}] works again`)],
  "message.queued": ({ id, delivery: given }) => [info(`queued [${id}]: ${delivery(given)}`)],
};

function busy({ reason, queued, connectedTo }: Of<"forward.busy">): readonly LogLine[] {
  const connected = connectedTo === "" ? "" : `: connected to ${connectedTo}`;
  const still = detail(`forwarding: [${reason}]: still busy from last time${connected}`);
  return queued ? [still, detail(`forwarding: queued request [${reason}]`)] : [still];
}

/** A routed address ("" is the default smarthost) that was never connected has words of its own. */
function failing(address: string, why: string): string {
  const unreached = why.startsWith("connect failure: ") || why.startsWith("dns error: ");
  return address !== "" && unreached ? "smtp connection failed" : "smtp client error";
}

/** What the client is told, and the reason where it says more. */
function joined(text: string, why: string): string {
  return why === "" || text.endsWith(why) ? text : `${text}: ${why}`;
}

/** What stands for masked lines is written as it is, protocol lines in quotes. */
function quoted(text: string): string {
  return text.startsWith("[") && text.endsWith("]") ? text : `"${text}"`;
}

function info(text: string): LogLine {
  return { level: "info", verbosity: 0, text };
}

function detail(text: string): LogLine {
  return { level: "info", verbosity: 1, text };
}

function trace(text: string): LogLine {
  return { level: "info", verbosity: 2, text };
}

function warning(text: string): LogLine {
  return { level: "warning", verbosity: 0, text };
}
