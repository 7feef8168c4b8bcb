/**
 * The ordered, synced steps that turn a sealed message into a queued one. The order is the promise:
 * content and envelope are on disk before the rename makes the message visible, and the rename is
 * on disk before anybody is told.
 */
import type { MessageId } from "../core/message-id.ts";
import type { Disk, DiskFile } from "../io/disk.ts";
import type { Written } from "./fresh.ts";
import type { CommitJournal } from "./journal.ts";
import { busyName, contentName, envelopeName, newName } from "./names.ts";
import type { Reserved } from "./reserved.ts";

/** How far a commit came, for whoever has to clean up after it failed. */
export interface Progress {
  /** What the envelope is named; null while it has no file. */
  envelope: string | null;
}

/** `directory`: null for --no-sync. `written`: the files as they were written, or null to sync what a filter left in their place. */
export async function publish(
  disk: Disk,
  directory: SharedSync | null,
  message: { id: MessageId; written: readonly DiskFile[] | null; progress: Progress },
): Promise<void> {
  const { id, written, progress } = message;
  const files = written ?? openAnew(disk, id);
  try {
    if (directory !== null) await syncAll(files);
  } finally {
    for (const file of files) file.close();
  }
  disk.rename(newName(id), envelopeName(id));
  progress.envelope = envelopeName(id);
  await directory?.flush();
}

/**
 * A message of a busy spool: others see its files at once, and the journal keeps it until they are on disk; of a
 * large one, whose content was synced by itself, it keeps the envelope.
 * Its envelope has no file yet if it may be reserved for a forwarder of ours.
 */
export async function publishJournaled(
  disk: Disk,
  journal: CommitJournal,
  message: { id: MessageId; written: Written; progress: Progress; reserved: Reserved },
): Promise<void> {
  const { id, written, progress, reserved } = message;
  await journal.put(id, written);
  // Not before: after a power cut nobody could tell torn files that were never promised from whole ones.
  try {
    if (progress.envelope === null) {
      const locked = reserved.add(id, written);
      writeEnvelope(disk, locked ? busyName(id) : newName(id), {
        bytes: written.envelope,
        progress,
      });
      if (locked) return;
    }
    disk.rename(newName(id), envelopeName(id));
  } catch (error) {
    reserved.take(id);
    journal.takeBack(id);
    throw error;
  }
  progress.envelope = envelopeName(id);
}

function writeEnvelope(
  disk: Disk,
  name: string,
  { bytes, progress }: { bytes: Buffer; progress: Progress },
): void {
  const file = disk.create(name);
  progress.envelope = name;
  try {
    file.append(bytes);
  } finally {
    file.close();
  }
}

/** A filter may have put other files in the place of those we wrote, and nobody has synced them. */
function openAnew(disk: Disk, id: MessageId): DiskFile[] {
  const content = disk.open(contentName(id));
  try {
    return [content, disk.open(newName(id))];
  } catch (error) {
    content.close();
    throw error;
  }
}

/** Waits for every sync before it reports a failed one: a descriptor must not be closed under a sync. */
async function syncAll(files: readonly DiskFile[]): Promise<void> {
  const ends = await Promise.allSettled(files.map(async (file) => await file.sync()));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

/** Group commit: all who ask while a directory sync is under way share the one that follows it. */
export class SharedSync {
  readonly #disk: Disk;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Resolves when everything done in the directory before this call would survive a power cut. */
  flush(): Promise<void> {
    if (this.#running === null) return this.#start();
    // The one under way may have begun before our rename: only the next one covers it.
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = null;
    const running = this.#disk.syncDirectory();
    this.#running = running;
    const ended = () => {
      if (this.#running === running) this.#running = null;
    };
    running.then(ended, ended);
    return running;
  }
}
