/**
 * DNS messages: one question out, one answer in (RFC 1035 4). Node's own resolver hides the parts
 * that matter here: the authoritative flag, and records of another type than was asked for. Pure.
 */
import { SocketAddress } from "node:net";

export interface DnsQuestion {
  /** As operators write it; `\DDD` is a byte that is not printable (RFC 1035 5.1). */
  readonly name: string;
  readonly type: "A" | "AAAA" | "MX";
}

export type DnsRecord =
  | { readonly type: "A" | "AAAA"; readonly owner: string; readonly address: string }
  | { readonly type: "CNAME"; readonly owner: string; readonly target: string }
  | {
      readonly type: "MX";
      readonly owner: string;
      readonly preference: number;
      readonly exchange: string;
    };

export interface DnsAnswer {
  /** 0 is success, 3 that there is no such name (RFC 1035 4.1.1). */
  readonly code: number;
  readonly authoritative: boolean;
  /** True when it did not fit: ask again over TCP. */
  readonly truncated: boolean;
  /** The answer section, without types that nobody here asks for. */
  readonly records: readonly DnsRecord[];
}

export const NO_SUCH_NAME = 3;

const CODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/** "SERVFAIL", "code 11". */
export function codeName(code: number): string {
  return CODES[code] ?? `code ${code}`;
}

const TYPES = { A: 1, CNAME: 5, MX: 15, AAAA: 28 } as const;
const INTERNET = 1;
const HEADER_BYTES = 12;
const MAX_NAME_BYTES = 255;

/** Null when the name cannot be one: an empty or too long part, or too long altogether. */
export function encodeQuery(id: number, { name, type }: DnsQuestion): Buffer | null {
  const encoded = encodeName(name);
  if (encoded === null) return null;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2); // Recursion desired.
  header.writeUInt16BE(1, 4);
  const tail = Buffer.alloc(4);
  tail.writeUInt16BE(TYPES[type], 0);
  tail.writeUInt16BE(INTERNET, 2);
  return Buffer.concat([header, encoded, tail]);
}

/** True for a name that can be asked for. */
export function isDnsName(name: string): boolean {
  return /^[!-~]+$/.test(name) && encodeName(name) !== null;
}

function encodeName(name: string): Buffer | null {
  const parts: Buffer[] = [];
  for (const label of name.replace(/\.$/, "").split(".")) {
    const plain = label.replace(/\\(\d{3})/g, (_, digits: string) =>
      String.fromCharCode(Number(digits) & 0xff),
    );
    const bytes = Buffer.from(plain, "latin1");
    if (bytes.length === 0 || bytes.length > 63) return null;
    parts.push(Buffer.of(bytes.length), bytes);
  }
  const encoded = Buffer.concat([...parts, Buffer.of(0)]);
  return encoded.length > MAX_NAME_BYTES ? null : encoded;
}

/** Null for anything that is not a well-formed answer to this very question: it must be overlooked. */
export function decodeAnswer(bytes: Buffer, id: number, question: DnsQuestion): DnsAnswer | null {
  if (bytes.length < HEADER_BYTES || bytes.readUInt16BE(0) !== id) return null;
  const flags = bytes.readUInt16BE(2);
  const isAnswer = (flags & 0xf800) === 0x8000;
  const start = isAnswer ? afterQuestion(bytes, question) : null;
  if (start === null) return null;
  const truncated = (flags & 0x0200) !== 0;
  // What was cut off may well end in the middle of a record.
  const records = truncated ? [] : recordsFrom(bytes, start);
  if (records === null) return null;
  return { code: flags & 0x0f, authoritative: (flags & 0x0400) !== 0, truncated, records };
}

/** Where the answer section starts; null when the question is not repeated as it was asked. */
function afterQuestion(bytes: Buffer, { name, type }: DnsQuestion): number | null {
  if (bytes.readUInt16BE(4) !== 1) return null;
  const asked = encodeName(name);
  const given = readName(bytes, HEADER_BYTES);
  if (asked === null || given === null || given.next + 4 > bytes.length) return null;
  const same = sameName(given.name, readName(asked, 0)?.name ?? "");
  const sameType = bytes.readUInt16BE(given.next) === TYPES[type];
  return same && sameType && bytes.readUInt16BE(given.next + 2) === INTERNET
    ? given.next + 4
    : null;
}

export function sameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

function recordsFrom(bytes: Buffer, start: number): DnsRecord[] | null {
  const records: DnsRecord[] = [];
  let at = start;
  for (let left = bytes.readUInt16BE(6); left > 0; left -= 1) {
    const owner = readName(bytes, at);
    if (owner === null || owner.next + 10 > bytes.length) return null;
    const data = owner.next + 10;
    at = data + bytes.readUInt16BE(owner.next + 8);
    if (at > bytes.length) return null;
    if (bytes.readUInt16BE(owner.next + 2) !== INTERNET) continue;
    const record = readRecord(bytes, owner.name, {
      type: bytes.readUInt16BE(owner.next),
      data,
      end: at,
    });
    if (record === "broken") return null;
    if (record !== "unknown") records.push(record);
  }
  return records;
}

interface Slot {
  readonly type: number;
  readonly data: number;
  readonly end: number;
}

function readRecord(bytes: Buffer, owner: string, slot: Slot): DnsRecord | "broken" | "unknown" {
  const { data, end } = slot;
  switch (slot.type) {
    case TYPES.A: {
      if (end - data !== 4) return "broken";
      return { type: "A", owner, address: [...bytes.subarray(data, end)].join(".") };
    }
    case TYPES.AAAA: {
      if (end - data !== 16) return "broken";
      return { type: "AAAA", owner, address: ipv6(bytes.subarray(data, end)) };
    }
    case TYPES.CNAME: {
      const target = readName(bytes, data);
      return target?.next === end ? { type: "CNAME", owner, target: target.name } : "broken";
    }
    case TYPES.MX: {
      const exchange = end - data < 3 ? null : readName(bytes, data + 2);
      if (exchange?.next !== end) return "broken";
      return { type: "MX", owner, preference: bytes.readUInt16BE(data), exchange: exchange.name };
    }
    default:
      return "unknown";
  }
}

function ipv6(bytes: Buffer): string {
  const groups = bytes.toString("hex").match(/.{4}/g) ?? [];
  return new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address;
}

/**
 * A name and where it ends; "" is the root. Bytes that are not plain printable become `\DDD`, so
 * that a name can be shown to people and asked for again. Pointers may only lead backwards, which
 * keeps a hostile message from sending us round in circles.
 */
function readName(bytes: Buffer, start: number): { name: string; next: number } | null {
  const labels: string[] = [];
  let next: number | null = null;
  let at = start;
  let limit = start;
  for (let size = 1; size <= MAX_NAME_BYTES; ) {
    const length = bytes[at];
    if (length === 0) return { name: labels.join("."), next: next ?? at + 1 };
    if (length !== undefined && length < 64) {
      const label = bytes.subarray(at + 1, at + 1 + length);
      labels.push(shown(label));
      size += length + 1;
      at += length + 1;
      continue;
    }
    const target = pointer(bytes, at);
    if (target === null || target >= limit) return null;
    next ??= at + 2;
    at = target;
    limit = target;
  }
  return null;
}

/** Null when there is none (RFC 1035 4.1.4). */
function pointer(bytes: Buffer, at: number): number | null {
  if (at + 2 > bytes.length) return null;
  const both = bytes.readUInt16BE(at);
  return both >= 0xc000 ? both & 0x3fff : null;
}

function shown(label: Buffer): string {
  return label
    .toString("latin1")
    .replace(/[^!-~]|[.\\]/g, (char) => `\\${String(char.charCodeAt(0)).padStart(3, "0")}`);
}
