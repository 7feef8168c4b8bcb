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

/** One line of an event: its text is made only when it is wanted. */
interface Row<Event> {
  readonly level: Level;
  readonly verbosity: LogLine["verbosity"];
  /** null when the event has no such line this time. */
  readonly text: (event: Event) => string | null;
}

/** A note says its own level. */
type Kind = Exclude<RelayEvent["kind"], "note">;
type Rows = { readonly [One in Kind]: readonly Row<Of<One>>[] };

/** The lines of an event that this verbosity asks for, the most telling one first; all, if it is not given, and never none. */
export function linesOf(event: RelayEvent, verbosity = 2): readonly LogLine[] {
  const lines: LogLine[] = [];
  if (event.kind === "note") {
    const least = event.detail ? 1 : 0;
    if (least <= verbosity) lines.push({ level: event.level, verbosity: least, text: event.text });
    return lines;
  }
  // The table has rows for each kind that take just that kind: TypeScript cannot follow it from here.
  for (const row of ROWS[event.kind] as readonly Row<RelayEvent>[]) {
    if (row.verbosity > verbosity) continue;
    const text = row.text(event);
    if (text !== null) lines.push({ level: row.level, verbosity: row.verbosity, text });
  }
  return lines;
}

/** "127.0.0.1:25", "::1.25", "/". */
export function showPeer({ address, port }: Peer): string {
  return displayAddress(address, port);
}

const ROWS: Rows = {
  // What the process does.
  "listener.opened": [info(({ server, address }) => `${server} server on ${address}`)],
  "secrets.configured": [
    info(({ server, path }) => `${server} server authentication secrets from "${path}"`),
  ],
  "forward.configured": [detail(({ address }) => `forwarding to ${address}`)],
  "secrets.reread": [info(({ path }) => `re-reading secrets file: ${path}`)],
  "spool.recovered": [info(({ id, action }) => `recovered [${id}]: ${action}`)],

  // Sessions of clients.
  "session.opened": [info(({ server, peer }) => `${server} connection from ${showPeer(peer)}`)],
  "session.refused": [
    warning(({ why }) => why),
    warning(({ peer }) => `connection rejected from ${showPeer(peer)}`),
  ],
  "session.closed": [
    info(({ server, peer, why }) => `${server} connection closed: ${why}: ${showPeer(peer)}`),
  ],
  "auth.accepted": [info(({ detail: how }) => `successful authentication of remote client ${how}`)],
  "auth.refused": [
    warning(({ detail: how }) => `failed authentication of remote client ${how}`),
    warning(({ peer }) => `client ${peer.address}: failed authentication`),
  ],
  "client.misbehaved": [warning(({ peer, reason }) => `client ${peer.address}: ${reason}`)],
  "client.trusted": [
    info(
      ({ peer, pattern, line }) =>
        `trusting [${peer.address}]: matched [${pattern}] from line ${line}`,
    ),
  ],
  "recipient.refused": [
    warning(
      ({ recipient, reply, why }) =>
        `rejecting recipient "${recipient}": ${joined(reply.text, why)}`,
    ),
  ],

  // Both directions.
  "tls.established": [
    info(
      ({ peer, protocol, cipher }) =>
        `tls protocol established with ${showPeer(peer)} protocol ${protocol} cipher ${cipher}`,
    ),
  ],
  "tls.failed": [warning(({ why }) => `tls: tls error: ${why}`)],
  traffic: [
    detail(({ direction, text }) => `${direction === "rx" ? "rx<<" : "tx>>"}: ${quoted(text)}`),
  ],

  // A message's way in.
  "content.created": [detail(({ id }) => `new content file [${id}.content]`)],
  "envelope.created": [detail(({ id }) => `new envelope file [${id}.envelope.new]`)],
  "message.accepted": [info((event) => `accepted [${event.id}]: ${acceptance(event)}`)],
  "message.rejected": [
    warning(
      ({ id, reply, why }) =>
        `rejecting message [${id}]: ${joined(`${reply.code} ${reply.text}`, why)}`,
    ),
  ],
  "message.abandoned": [detail(({ id }) => `abandoned [${id}]: left to the filter`)],

  // A message's way out.
  "forward.requested": [detail(({ reason }) => `forwarding: [${reason}]`)],
  "forward.busy": [
    detail(
      ({ reason, connectedTo }) =>
        `forwarding: [${reason}]: still busy from last time` +
        (connectedTo === "" ? "" : `: connected to ${connectedTo}`),
    ),
    detail(({ reason, queued }) => (queued ? `forwarding: queued request [${reason}]` : null)),
  ],
  "forward.idle": [
    detail(({ tried }) => `forwarding: no ${tried === 0 ? "" : "more "}messages to send`),
  ],
  "forward.abandoned": [detail(({ id }) => `abandoned [${id}]: left for another run`)],
  "forward.skipped": [trace(({ id, why }) => `skipped [${id}]: ${why}`)],
  "forward.message": [
    detail(({ id, selector, forwardTo, forwardToAddress }) => {
      const fields = [
        ["selector", selector],
        ["forward-to", forwardTo],
        ["forward-to-address", forwardToAddress],
      ].flatMap(([name, value]) => (value === "" ? [] : [` ${name}=[${value}]`]));
      return `forwarding [${id}]${fields.join("")}`;
    }),
  ],
  "smarthost.resolving": [trace(({ address }) => `resolving ${address}`)],
  "smarthost.connecting": [trace(({ address }) => `connecting to ${address}`)],
  "smarthost.connected": [info(({ peer }) => `smtp connection to ${showPeer(peer)}`)],
  "smarthost.disconnected": [trace(({ peer }) => `disconnected from ${showPeer(peer)}`)],
  "smarthost.authenticated": [
    info(
      ({ tls, detail: how }) =>
        `successful authentication with remote server ${tls ? "over tls " : ""}${how}`,
    ),
  ],
  "smarthost.failed": [warning(({ address, why }) => `${failing(address, why)}: ${why}`)],
  "message.delivered": [
    info(({ id, delivery: given }) => `delivered [${id}]: ${delivery(given)}`),
    detail(({ id }) => `deleting envelope [${id}.envelope.busy]`),
    detail(({ id }) => `deleting content [${id}.content]`),
  ],
  "message.failed": [
    warning(({ id, delivery: given }) => `failed [${id}]: ${delivery(given)}`),
    info(({ id }) => `failing envelope [${id}.envelope.busy] -> [${id}.envelope.bad]`),
  ],
  "message.deferred": [
    info(
      ({ id, delivery: given, retrySeconds, unknown }) =>
        `deferred [${id}]: ${delivery(given)} retry=${retrySeconds}s` +
        (unknown ? ": no answer to the end of the message: it may arrive twice" : ""),
    ),
  ],
  "smarthost.paused": [
    warning(
      ({ address, account, why, seconds }) =>
        `smarthost [${address}]${ofAccount(account)} paused for ${seconds}s, mail waits: ${why}`,
    ),
  ],
  "smarthost.resumed": [
    info(({ address, account }) => `smarthost [${address}]${ofAccount(account)} works again`),
  ],
  "message.queued": [info(({ id, delivery: given }) => `queued [${id}]: ${delivery(given)}`)],
};

/** A routed address ("" is the default smarthost) that was never connected has words of its own. */
function failing(address: string, why: string): string {
  const unreached = why.startsWith("connect failure: ") || why.startsWith("dns error: ");
  return address !== "" && unreached ? "smtp connection failed" : "smtp client error";
}

/** Other accounts may use it. */
function ofAccount(account: string): string {
  return account === "" ? "" : ` account "${account}"`;
}

/** What the client is told, and the reason where it says more. */
function joined(text: string, why: string): string {
  return why === "" || text.endsWith(why) ? text : `${text}: ${why}`;
}

/** What stands for masked lines is written as it is, protocol lines in quotes. */
function quoted(text: string): string {
  return text.startsWith("[") && text.endsWith("]") ? text : `"${text}"`;
}

function info<Event>(text: Row<Event>["text"]): Row<Event> {
  return { level: "info", verbosity: 0, text };
}

function detail<Event>(text: Row<Event>["text"]): Row<Event> {
  return { level: "info", verbosity: 1, text };
}

function trace<Event>(text: Row<Event>["text"]): Row<Event> {
  return { level: "info", verbosity: 2, text };
}

function warning<Event>(text: Row<Event>["text"]): Row<Event> {
  return { level: "warning", verbosity: 0, text };
}
