/** Reads an envelope file, whatever is in its place. */
import { type Envelope, MAX_ENVELOPE_BYTES } from "../core/envelope.ts";
import { RelayError } from "../core/errors.ts";
import type { Disk } from "../io/disk.ts";
import { decodeEnvelope } from "./envelope-format.ts";

/** Does not wait for a fifo. Throws ENVELOPE_SYNTAX, or a system error. */
export function readEnvelope(disk: Disk, name: string): Envelope {
  const file = disk.open(name);
  try {
    const { kind, size } = file.facts();
    if (kind !== "file") throw new RelayError("ENVELOPE_SYNTAX", name, "not a regular file");
    if (size > MAX_ENVELOPE_BYTES) throw new RelayError("ENVELOPE_SYNTAX", name, "file too large");
    return decodeEnvelope(file.readAll(size), name);
  } finally {
    file.close();
  }
}
