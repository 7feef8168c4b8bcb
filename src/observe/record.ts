/** An event as a flat record for machines: the same fact has the same name everywhere. Pure. See docs/logging.md. */
import type { Delivery, Peer, RelayEvent } from "../core/events.ts";
import type { Reply } from "../core/reply.ts";
import { cut } from "./line-format.ts";
import { showPeer } from "./text.ts";

type Value = string | number | boolean | readonly string[];
export type LogRecord = Readonly<Record<string, Value>>;

const RESULTS: ReadonlyMap<string, string> = new Map([
  ["message.delivered", "delivered"],
  ["message.failed", "failed"],
  ["message.deferred", "deferred"],
  ["message.queued", "queued"],
]);

/** Where the event's own word means something else than the same word of other events. */
const RENAMED: ReadonlyMap<string, string> = new Map([
  ["auth.accepted id", "account"],
  ["auth.refused id", "account"],
  ["smarthost.authenticated tls", "encrypted"],
]);

/** `event` first, then the event's own fields; no levels, times or sentences. */
export function recordOf(event: RelayEvent): LogRecord {
  // A note is its sentence and nothing else.
  if (event.kind === "note") return { event: event.kind };
  const { kind, ...fields } = event;
  const flattened = (Object.entries(fields) as [string, Field][]).map(([name, value]) =>
    flat(RENAMED.get(`${kind} ${name}`) ?? name, value),
  );
  const result = RESULTS.get(kind);
  const head: LogRecord = result === undefined ? { event: kind } : { event: kind, result };
  return Object.assign({}, head, ...flattened) as LogRecord;
}

type Field = Value | (() => string) | Peer | Reply | Delivery;

function flat(name: string, value: Field): LogRecord {
  if (Array.isArray(value)) return { [name]: value };
  if (typeof value === "string") return { [name]: cut(value) };
  if (typeof value === "number") return number(name, value);
  if (typeof value === "boolean") return { [name]: value };
  if (typeof value === "function") return { [name]: value() };
  if ("smarthost" in value) return ofDelivery(value);
  if ("address" in value) return { [name]: showPeer(value) };
  if ("code" in value) return { code: value.code, text: cut(value.text) };
  return {};
}

function number(name: string, value: number): LogRecord {
  return name === "bytes" ? { size: value } : { [name]: Math.round(value) };
}

function ofDelivery({ bytes, ms, text, ...rest }: Delivery): LogRecord {
  return { ...rest, size: bytes, text: cut(text), ms: Math.round(ms) };
}
