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
  /**
   * Of this use of the segment, 16 characters: batches of an earlier use have another. Random, and told
   * to nobody: what a client sends cannot pass for a batch.
   */
  readonly generation: string;
  /**
   * "free": everything in it is on disk as files; "doubted": a sync of these files has failed, so that those that
   * look whole may be so in memory only, and a second sync would not tell.
   */
  readonly state: "free" | "used" | "doubted";
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

/** For the place of the first batch, so that a free segment whose head is damaged is not taken for a used one. No record is so short. */
const FREE = Buffer.from("free");

/** One page; what it says fits into any sector, so that it is there or it is not. */
export function encodeFree(generation: string): Buffer {
  return encodeBatch(generation, [FREE]);
}

/** null for one that was torn before anything was promised, or damaged since. */
export function decodeHead(bytes: Buffer): SegmentHead | null {
  const generation = generationAt(bytes, 0);
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

/** What a segment still has to make whole. */
export interface SegmentRecords {
  readonly records: readonly JournalRecord[];
  /** Batches that had been synced cannot be read: more than a power cut has happened to it. */
  readonly isDamaged: boolean;
}

const NOTHING: SegmentRecords = { records: [], isDamaged: false };

/**
 * Everything that was synced and can be read, and maybe the batch after it. A batch is begun when the
 * one before it is on disk: one that cannot be read is a torn last one if no other begins behind it,
 * and damaged otherwise. Only batches of the segment's own generation count, which no client knows:
 * content may look like a batch, and lie where one could begin. Takes time linear in the size.
 */
export function decodeSegment(bytes: Buffer, head: SegmentHead | null): SegmentRecords {
  if (head?.state === "free") return NOTHING;
  const generation = head?.generation ?? firstGeneration(bytes);
  if (generation === null) {
    // Nothing was promised with the head and the first batch torn, and nothing else ever written.
    return { records: [], isDamaged: bytes.subarray(2 * PAGE_BYTES).some((byte) => byte !== 0) };
  }
  if (payloadAt(bytes, PAGE_BYTES, generation)?.equals(FREE)) return NOTHING;
  const records: JournalRecord[] = [];
  const begins = pagesThatBegin(bytes, generation);
  let isDamaged = false;
  let end = PAGE_BYTES;
  for (const [n, at] of begins.entries()) {
    if (at < end) continue;
    isDamaged ||= at > end;
    // Where lengths may be wrong, none is followed past the next batch: no byte is read for each of them.
    const bound = isDamaged ? begins[n + 1] : undefined;
    const payload = payloadAt(bytes.subarray(0, bound), at, generation);
    if (payload === null) continue;
    for (const record of recordsIn(payload)) records.push(record);
    end = at + pagesFor(payload.length);
  }
  return { records, isDamaged };
}

/**
 * For when the head is damaged; null when the first batch is too. Nothing that a client has sent can
 * lie there; a generation that is found further on may be a client's, and its records forged.
 */
function firstGeneration(bytes: Buffer): string | null {
  const generation = generationAt(bytes, PAGE_BYTES);
  return payloadAt(bytes, PAGE_BYTES, generation) === null ? null : generation;
}

function pagesThatBegin(bytes: Buffer, generation: string): readonly number[] {
  const pages: number[] = [];
  for (let at = PAGE_BYTES; at < bytes.length; at += PAGE_BYTES) {
    if (generationAt(bytes, at) === generation) pages.push(at);
  }
  return pages;
}

function generationAt(bytes: Buffer, at: number): string {
  return bytes.toString("latin1", at, at + 16);
}

function payloadAt(bytes: Buffer, at: number, generation: string): Buffer | null {
  if (at + BATCH_HEAD_BYTES > bytes.length) return null;
  if (generationAt(bytes, at) !== generation) return null;
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
