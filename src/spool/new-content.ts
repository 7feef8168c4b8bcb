/** The first file of a new message, which makes its id: nobody else can take that from then on. */

import { isErrno, RelayError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import { contentName } from "./names.ts";
import { storageError } from "./storage-errors.ts";

const MAX_NAME_TRIES = 10_000;

/** Takes the first id that is free, by making its content file. Throws SPOOL_FULL, SPOOL_IO. */
export function makeContent<T>(
  disk: Disk,
  nextId: () => MessageId,
  make: (name: string) => T,
): { readonly id: MessageId; readonly made: T } {
  for (let tries = 1; tries <= MAX_NAME_TRIES; tries++) {
    const id = nextId();
    try {
      return { id, made: make(contentName(id)) };
    } catch (error) {
      // A file of that name: the clock went back, or another store of this process made it.
      if (!isErrno(error, "EEXIST")) throw storageError(error, "create", contentName(id));
    }
  }
  const why = `cannot find a free name in "${disk.directory}"`;
  throw new RelayError("SPOOL_IO", disk.directory, why);
}
