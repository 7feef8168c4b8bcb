/** What is written to the journal at once, and who waits for that. */
import type { MessageId } from "../core/message-id.ts";

export interface Batch {
  readonly records: Buffer[];
  readonly puts: MessageId[];
  bytes: number;
  readonly settle: { resolve: () => void; reject: (error: unknown) => void }[];
}

export function newBatch(): Batch {
  return { records: [], puts: [], bytes: 0, settle: [] };
}

export function append(batch: Batch, record: Buffer): Batch {
  batch.records.push(record);
  batch.bytes += record.length;
  return batch;
}
