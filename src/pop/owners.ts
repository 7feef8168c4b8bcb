/** Whose content is it? One that lies in the spool may belong to envelopes there and in every folder below. */
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";

/** True if an envelope of that name is left in the directory, whatever its state. */
export function remainingEnvelope(disk: Disk, id: MessageId): boolean {
  return ["", ".new", ".busy", ".bad"].some(
    (state) => disk.stat(`${id}.envelope${state}`) !== null,
  );
}

/** Ids that have an envelope, in any state, in the spool or one of its folders. Throws system errors: then nobody can say. */
export function idsWithEnvelope(spool: Disk): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const name of spool.list()) {
    if (addId(ids, name) || name.endsWith(".content") || name.startsWith(".")) continue;
    for (const inner of listFolder(spool, name)) addId(ids, inner);
  }
  return ids;
}

function addId(ids: Set<string>, name: string): boolean {
  const [, id] = /^(.+)\.envelope(?:\.\w+)*$/s.exec(name) ?? [];
  if (id !== undefined) ids.add(id);
  return id !== undefined;
}

function listFolder(spool: Disk, name: string): readonly string[] {
  try {
    return spool.list(name);
  } catch (error) {
    if (isErrno(error, "ENOTDIR", "ENOENT")) return [];
    throw error;
  }
}
