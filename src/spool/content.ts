/** The content of a stored message, open for reading. */
import { isErrno, RelayError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Content } from "../core/store.ts";
import type { Disk, DiskFile, FileFacts } from "../io/disk.ts";
import { contentName } from "./names.ts";
import { storageError } from "./storage-errors.ts";

/** Bytes read at a time; a message up to this size is read with one call. */
const CHUNK_BYTES = 256 * 1024;
/** A message up to this size is read without waiting. */
const SMALL_BYTES = 64 * 1024;

/** Hard links are fine (filters make them); symbolic links, fifos and the like count as no content. Throws CONTENT_MISSING, SPOOL_IO. */
export function openContent(disk: Disk, id: MessageId): Content {
  const name = contentName(id);
  const file = openFile(disk, name);
  try {
    const facts = file.facts();
    if (facts.kind !== "file") throw missing(name, "not a regular file");
    return new FileContent(file, name, facts);
  } catch (error) {
    file.close();
    throw storageError(error, "read", name);
  }
}

/** The content of a file that need not be read. */
export class KnownContent implements Content {
  readonly size: number;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  async *bytes(): AsyncGenerator<Uint8Array> {
    if (this.size > 0) yield this.#bytes;
  }

  whole(): Uint8Array {
    return this.#bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is open.
  }
}

function openFile(disk: Disk, name: string): DiskFile {
  try {
    return disk.open(name);
  } catch (error) {
    if (isErrno(error, "ENOENT")) throw missing(name, "no such file");
    // ELOOP: a symbolic link; ENXIO: a socket or a device without driver.
    if (isErrno(error, "ELOOP", "ENXIO")) throw missing(name, "not a regular file");
    throw storageError(error, "open", name);
  }
}

function missing(name: string, why: string): RelayError {
  return new RelayError("CONTENT_MISSING", name, `message content is missing: ${why}`);
}

class FileContent implements Content {
  readonly size: number;
  readonly changedMs: number;
  readonly #file: DiskFile;
  readonly #name: string;

  constructor(file: DiskFile, name: string, { size, changedMs }: FileFacts) {
    this.#file = file;
    this.#name = name;
    this.size = size;
    this.changedMs = changedMs;
  }

  whole(): Uint8Array | null {
    if (this.size > SMALL_BYTES) return null;
    try {
      const bytes = this.#file.readAll(this.size);
      // What has changed meanwhile is read, and complained of, in the other way.
      return bytes.length === this.size ? bytes : null;
    } catch (error) {
      throw storageError(error, "read", this.#name);
    }
  }

  async *bytes(room?: () => Uint8Array): AsyncGenerator<Uint8Array> {
    let position = 0;
    while (position < this.size) {
      const chunk = await this.#chunkAt(position, room);
      if (chunk.length === 0) {
        const why = `content ended after ${position} of ${this.size} bytes`;
        throw new RelayError("SPOOL_IO", this.#name, `cannot read "${this.#name}": ${why}`);
      }
      position += chunk.length;
      yield chunk;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#file.close();
  }

  async #chunkAt(position: number, room?: () => Uint8Array): Promise<Uint8Array> {
    try {
      if (this.size <= CHUNK_BYTES) return this.#file.readAll().subarray(position, this.size);
      const left = Math.min(CHUNK_BYTES, this.size - position);
      const buffer = room === undefined ? Buffer.allocUnsafe(left) : room().subarray(0, left);
      return buffer.subarray(0, await this.#file.read(buffer, position));
    } catch (error) {
      throw storageError(error, "read", this.#name);
    }
  }
}
