/**
 * The bytes of a journal segment: a page that says whose it is, then batches, each from the start of
 * a page on, so that no batch is ever written into a page that holds one that was synced before.
 */
import { crc32 } from "node:zlib";
import { type MessageId, parseMessageId } from "../core/message-id.ts";
import { bytesOf, type Written } from "./fresh.ts";
import type { Home } from "./process-table.ts";

export const PAGE_BYTES = 4096;
/** Generation, payload length, checksum of both and of the payload. */
const BATCH_HEAD_BYTES = 16 + 4 + 4;
const RECORD_HEAD_BYTES = 1 + 2 + 4 + 4;
const PUT = 1;
const DONE = 2;
/** A put whose content has a file that was synced by itself: the record has its size. */
const PUT_ENVELOPE = 3;

/** What a segment says about itself while its messages may not be on disk as files. */
export interface SegmentHead extends Home {
  /** Of this use of the segment, 16 characters: batches of an earlier use have another. */
  readonly generation: string;
  /** "free": everything in it is on disk as files. */
  readonly state: "free" | "used";
  /** Of the segment's own file: in a copy they are another file's. */
  readonly device: number;
  readonly inode: number;
}

export type JournalRecord =
  | {
      readonly kind: "put";
      readonly id: MessageId;
      /** null: it was on disk before. */
      readonly content: Buffer | null;
      readonly contentBytes: number;
      readonly envelope: Buffer;
    }
  /** The message was removed. */
  | { readonly kind: "done"; readonly id: MessageId };

export function pagesFor(bytes: number): number {
  return Math.ceil((BATCH_HEAD_BYTES + bytes) / PAGE_BYTES) * PAGE_BYTES;
}

export function encodeHead(head: SegmentHead): Buffer {
  return encodeBatch(head.generation, [Buffer.from(JSON.stringify(head))]);
}

/** null for one that was torn before anything was promised. */
export function decodeHead(bytes: Buffer): SegmentHead | null {
  const generation = bytes.toString("latin1", 0, 16);
  const payload = payloadAt(bytes, 0, generation);
  if (payload === null) return null;
  return { ...(JSON.parse(payload.toString()) as SegmentHead), generation };
}

export function recordBytes(written: Written): number {
  return RECORD_HEAD_BYTES + 100 + bytesOf(written);
}

export function encodePut(id: MessageId, { content, contentBytes, envelope }: Written): Buffer {
  if (content !== null) return encodeRecord(PUT, id, content, envelope);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(contentBytes));
  return encodeRecord(PUT_ENVELOPE, id, size, envelope);
}

export function encodeDone(id: MessageId): Buffer {
  return encodeRecord(DONE, id, EMPTY, EMPTY);
}

const EMPTY = Buffer.alloc(0);

function encodeRecord(
  kind: number,
  id: MessageId,
  content: Uint8Array,
  envelope: Uint8Array,
): Buffer {
  const name = Buffer.from(id);
  const size = RECORD_HEAD_BYTES + name.length + content.length + envelope.length;
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeUInt8(kind, 0);
  bytes.writeUInt16LE(name.length, 1);
  bytes.writeUInt32LE(content.length, 3);
  bytes.writeUInt32LE(envelope.length, 7);
  let at = RECORD_HEAD_BYTES;
  for (const part of [name, content, envelope]) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Whole pages. */
export function encodeBatch(generation: string, records: readonly Buffer[]): Buffer {
  const length = records.reduce((sum, one) => sum + one.length, 0);
  const bytes = Buffer.allocUnsafe(pagesFor(length));
  bytes.write(generation, 0, 16, "latin1");
  bytes.writeUInt32LE(length, 16);
  let at = BATCH_HEAD_BYTES;
  for (const record of records) {
    bytes.set(record, at);
    at += record.length;
  }
  bytes.fill(0, at);
  bytes.writeUInt32LE(checksum(bytes, 0, length), 20);
  return bytes;
}

/** Everything that was synced, and maybe the batch after it; a torn tail is left out. */
export function decodeRecords(bytes: Buffer, head: SegmentHead): readonly JournalRecord[] {
  const records: JournalRecord[] = [];
  for (let at = PAGE_BYTES; ; ) {
    const payload = payloadAt(bytes, at, head.generation);
    if (payload === null) return records;
    records.push(...recordsIn(payload));
    at += pagesFor(payload.length);
  }
}

function payloadAt(bytes: Buffer, at: number, generation: string): Buffer | null {
  if (at + BATCH_HEAD_BYTES > bytes.length) return null;
  if (bytes.toString("latin1", at, at + 16) !== generation) return null;
  const length = bytes.readUInt32LE(at + 16);
  const start = at + BATCH_HEAD_BYTES;
  if (length === 0 || start + length > bytes.length) return null;
  if (bytes.readUInt32LE(at + 20) !== checksum(bytes, at, length)) return null;
  return bytes.subarray(start, start + length);
}

function checksum(bytes: Buffer, at: number, length: number): number {
  const start = at + BATCH_HEAD_BYTES;
  return crc32(bytes.subarray(start, start + length), crc32(bytes.subarray(at, at + 20)));
}

function* recordsIn(payload: Buffer): Generator<JournalRecord> {
  for (let at = 0; at < payload.length; ) {
    const kind = payload.readUInt8(at);
    const sizes = [payload.readUInt16LE(at + 1), payload.readUInt32LE(at + 3)] as const;
    const envelopeBytes = payload.readUInt32LE(at + 7);
    const name = at + RECORD_HEAD_BYTES;
    const content = name + sizes[0];
    const envelope = content + sizes[1];
    const end = envelope + envelopeBytes;
    at = end;
    const id = parseMessageId(payload.toString("utf8", name, content));
    if (id === null) continue;
    if (kind === DONE) yield { kind: "done", id };
    if (kind !== PUT && kind !== PUT_ENVELOPE) continue;
    const known = kind === PUT;
    yield {
      kind: "put",
      id,
      content: known ? payload.subarray(content, envelope) : null,
      contentBytes: known ? sizes[1] : Number(payload.readBigUInt64LE(content)),
      envelope: payload.subarray(envelope, end),
    };
  }
}
