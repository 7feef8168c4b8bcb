/** Makes the messages of a journal whole again where their files are missing or torn. */
import { isErrno } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk } from "../io/disk.ts";
import type { JournalRecord } from "./journal-format.ts";
import { badName, busyName, contentName, envelopeName, newName, ownerOf } from "./names.ts";
import { idsInFolders } from "./recover.ts";
import { removeIfThere } from "./staging.ts";

type Put = Extract<JournalRecord, { kind: "put" }>;

export interface RestoreTerms {
  /** Reads what those who remove messages meanwhile have noted before. */
  readonly notes: () => ReadonlySet<MessageId>;
  /** What becomes of files that look whole: after a failed sync they may be so in memory only. */
  readonly whole: "leave" | "write anew";
}

/**
 * Returns those whose files were written anew; they are synced then, but not their names, and what was left as it was
 * is not. Throws what the disk throws.
 */
export async function restoreMessages(
  disk: Disk,
  records: readonly JournalRecord[],
  terms: RestoreTerms,
): Promise<readonly MessageId[]> {
  const puts = new Map<MessageId, Put>();
  for (const record of records) if (record.kind === "put") puts.set(record.id, record);
  const done = new Set(records.filter(({ kind }) => kind === "done").map(({ id }) => id));
  for (const id of terms.notes()) done.add(id);
  // Listed after the notes: whoever moves a message to a mailbox has it there before the note.
  let listed: ReturnType<typeof ownersElsewhere> | null = null;
  const isOwned = (id: MessageId) => {
    listed ??= ownersElsewhere(disk);
    return listed(id);
  };
  const restored: MessageId[] = [];
  for (const [id, put] of puts) {
    if (done.has(id)) removeLeft(disk, put, isOwned);
    else if (await makeWhole(disk, put, terms)) restored.push(id);
  }
  return restored;
}

/**
 * Which content may have its envelope in a mailbox, or parked by an operator under a name of his own: where a folder
 * cannot be listed ("lost+found"), all of it.
 */
function ownersElsewhere(disk: Disk): (id: MessageId) => boolean {
  try {
    const inMailboxes = idsInFolders(disk);
    const parked = parkedIds(disk.list());
    return (id) => inMailboxes.has(id) || parked.has(id);
  } catch {
    // What is kept in vain is a file that nobody sends; the messages that are torn must not wait for it.
    return () => true;
  }
}

/** Without those of names that we give: they are looked at one by one. */
function parkedIds(names: readonly string[]): ReadonlySet<MessageId> {
  const ids = new Set<MessageId>();
  for (const name of names) {
    const id = ownerOf(name);
    if (id !== null && !envelopeNames(id).includes(name)) ids.add(id);
  }
  return ids;
}

/**
 * Its removal may have been lost with the power; what somebody has changed since is left alone, and
 * so is the content of an envelope in a mailbox (`copy:pop`), or parked.
 */
function removeLeft(disk: Disk, put: Put, isOwned: (id: MessageId) => boolean): void {
  for (const name of [newName(put.id), ...envelopeNames(put.id)]) {
    const found = readIfFile(disk, name);
    if (found !== null && isOrWas(found, put.envelope)) disk.remove(name);
  }
  if (envelopeNames(put.id).some((name) => disk.stat(name) !== null)) return;
  if (hasContent(disk, put) && !isOwned(put.id)) disk.remove(contentName(put.id));
}

/** Its content is there, as it was put or torn; who knows no more of it than its size goes by that. */
function hasContent(disk: Disk, { id, content, contentBytes }: Put): boolean {
  if (content === null) {
    const facts = disk.stat(contentName(id));
    return facts?.kind === "file" && facts.size === contentBytes;
  }
  const found = readIfFile(disk, contentName(id));
  return found !== null && isOrWas(found, content);
}

/** True when anything had to be written. */
async function makeWhole(disk: Disk, put: Put, terms: RestoreTerms): Promise<boolean> {
  const { id, content, envelope } = put;
  const there = present(disk, id);
  const torn = there.filter((name) => isTorn(readIfFile(disk, name), envelope));
  if (there.length > torn.length) {
    for (const name of torn) disk.remove(name);
    const whole = there.filter((name) => !torn.includes(name));
    return (await mend(disk, put, { whole, terms })) || torn.length > 0;
  }
  // Whoever removes a message notes it first: asked after we have missed it.
  if (there.length === 0 && terms.notes().has(id)) {
    removeLeft(disk, put, (one) => ownersElsewhere(disk)(one));
    return false;
  }
  // On disk before it was put: somebody has removed it since.
  if (content === null && disk.stat(contentName(id)) === null) return false;
  // Content first: an envelope makes it a message.
  await ensure(disk, put, terms.whole);
  const waiting = envelopeName(id);
  await write(disk, newName(id), envelope);
  disk.rename(newName(id), waiting);
  for (const name of torn) if (name !== waiting) disk.remove(name);
  return true;
}

/** A message that has an envelope. `whole`: its names. */
async function mend(
  disk: Disk,
  put: Put,
  { whole, terms }: { whole: readonly string[]; terms: RestoreTerms },
): Promise<boolean> {
  const written = await ensure(disk, put, terms.whole);
  if (terms.whole === "leave") return written;
  for (const name of whole) await renew(disk, put, name);
  return true;
}

/** The envelopes that are there. A forwarder may change the name meanwhile: then it is seen at the second look. */
function present(disk: Disk, id: MessageId): readonly string[] {
  const look = () => envelopeNames(id).filter((name) => disk.stat(name) !== null);
  const there = look();
  return there.length > 0 ? there : look();
}

function envelopeNames(id: MessageId): readonly string[] {
  return [envelopeName(id), busyName(id), badName(id)];
}

/** What was changed by somebody, or is no file of ours, stays, and what is whole if it may. */
async function ensure(
  disk: Disk,
  { id, content }: Put,
  whole: RestoreTerms["whole"],
): Promise<boolean> {
  if (content === null) return false;
  const name = contentName(id);
  if (disk.stat(name) !== null) {
    const found = readIfFile(disk, name);
    const isWhole = found?.equals(content) === true;
    if (isWhole ? whole === "leave" : !isTorn(found, content)) return false;
  }
  const temporary = `${name}.tmp`;
  await write(disk, temporary, content);
  disk.rename(temporary, name);
  return true;
}

/** Another file with the same envelope takes the place of one that is whole, unless somebody has changed or moved it. */
async function renew(disk: Disk, { id, envelope }: Put, name: string): Promise<void> {
  if (readIfFile(disk, name)?.equals(envelope) !== true) return;
  const temporary = newName(id);
  await write(disk, temporary, envelope);
  // A forwarder in another process may have gone on meanwhile.
  if (disk.stat(name) === null) return disk.remove(temporary);
  disk.rename(temporary, name);
  const others = envelopeNames(id).filter((other) => other !== name);
  if (others.some((other) => disk.stat(other) !== null)) removeIfThere(disk, name);
}

async function write(disk: Disk, name: string, bytes: Buffer): Promise<void> {
  removeIfThere(disk, name);
  const file = disk.create(name);
  try {
    file.append(bytes);
    await file.sync();
  } finally {
    file.close();
  }
}

/** Cut short, or with zeros where bytes never reached the disk, and otherwise as it was written. */
function isTorn(found: Buffer | null, written: Buffer): boolean {
  return found !== null && !found.equals(written) && isOrWas(found, written);
}

function isOrWas(found: Buffer, written: Buffer): boolean {
  if (found.length > written.length) return false;
  if (found.equals(written.subarray(0, found.length))) return true;
  return found.every((byte, at) => byte === 0 || byte === written[at]);
}

/** null when there is none, or it is no regular file. */
export function readIfFile(disk: Disk, name: string): Buffer | null {
  if (disk.stat(name)?.kind !== "file") return null;
  try {
    const file = disk.open(name);
    try {
      return file.readAll();
    } finally {
      file.close();
    }
  } catch (error) {
    if (isErrno(error, "ENOENT", "ELOOP")) return null;
    throw error;
  }
}
