/**
 * Large buffers, given back when they have been used. Left to the garbage collector they pile up to 64 MB before
 * it looks, and then it has to look at everything: half of the work of a stream of large messages.
 */
import { MessageChannel } from "node:worker_threads";

/** Smaller ones are cheap, and may be parts of a block that others use too. */
const LARGE_BYTES = 16 * 1024;

/** What is sent away through a closed port goes nowhere: its memory is free at once. */
const nowhere = closedPort();

function closedPort() {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}

/**
 * Empties the buffer, and every other view of its memory, if it is large and has all of that memory; nobody
 * may be reading or writing it, nor any system call.
 */
export function giveBack({ buffer, byteLength }: Uint8Array): void {
  if (byteLength === buffer.byteLength) giveBackAll(buffer);
}

/** As `giveBack`, for memory that is nobody's any more, whatever part of it was used. */
export function giveBackAll(buffer: ArrayBufferLike): void {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < LARGE_BYTES) return;
  try {
    nowhere.postMessage(null, [buffer]);
  } catch {
    // Memory that may not be sent away, as that of a pool: it is left to the garbage collector.
  }
}
