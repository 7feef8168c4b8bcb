/** Gives a message to every sub-directory of the spool: an envelope each, the content stays where it is. */
import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { MessageId } from "../core/message-id.ts";
import type { MessageFiles } from "../core/store.ts";
import type { Disk } from "../io/disk.ts";
import { nodeDisk } from "../io/node-disk.ts";
import { contentName, envelopeName, newName } from "../spool/names.ts";
import { plainReason } from "../spool/storage-errors.ts";

export interface EnvelopeCopies {
  readonly copied: number;
  /** One text for each directory that could not take its copy. */
  readonly failures: readonly string[];
}

/**
 * Copies the sealed envelope; removes it when every sub-directory has its copy, so that a daemon
 * never sees it in the spool itself. Without sub-directories nothing happens.
 */
export async function copyEnvelope(files: MessageFiles, id: MessageId): Promise<EnvelopeCopies> {
  const spool = nodeDisk(dirname(files.content));
  const directories = subDirectories(spool);
  if (directories.length === 0) return { copied: 0, failures: [] };
  const envelope = readWhole(spool, basename(files.envelope));
  // Content before envelopes: a reader of a sub-directory must never find one without the other.
  await syncFile(spool, basename(files.content));
  await spool.syncDirectory();
  const failures: string[] = [];
  for (const directory of directories) {
    try {
      await placeCopy(nodeDisk(directory), id, envelope);
    } catch (error) {
      failures.push(`"${directory}": ${plainReason(error)}`);
    }
  }
  if (failures.length === 0) {
    spool.remove(basename(files.envelope));
    await spool.syncDirectory();
  }
  return { copied: directories.length - failures.length, failures };
}

/** Names with a dot in front are not mailboxes. Links are not followed. */
function subDirectories(spool: Disk): string[] {
  return readdirSync(spool.directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map((entry) => join(spool.directory, entry.name))
    .sort();
}

function readWhole(disk: Disk, name: string): Buffer {
  const file = disk.open(name);
  try {
    return file.readAll();
  } finally {
    file.close();
  }
}

async function syncFile(disk: Disk, name: string): Promise<void> {
  const file = disk.open(name);
  try {
    await file.sync();
  } finally {
    file.close();
  }
}

/**
 * Whole or not at all: written under another name, synced, renamed, the directory synced. Ids come again where
 * the clock goes back, and process ids do too: what is there is not replaced, and does not become the content.
 */
async function placeCopy(disk: Disk, id: MessageId, envelope: Buffer): Promise<void> {
  const taken = [envelopeName(id), contentName(id)].some((name) => disk.stat(name) !== null);
  if (taken) throw new Error("another message has the same name");
  const file = disk.create(newName(id));
  try {
    file.append(envelope);
    await file.sync();
    disk.rename(newName(id), envelopeName(id));
  } catch (error) {
    disk.remove(newName(id));
    throw error;
  } finally {
    file.close();
  }
  await disk.syncDirectory();
}
