/**
 * Puts a message into one mailbox: a maildir, or a directory of spool files. A reader looks for
 * envelopes, so the content is in its place before the envelope is.
 */
import { join } from "node:path";
import { RelayError } from "../core/errors.ts";
import type { MessageId } from "../core/message-id.ts";
import type { Disk, DiskFile } from "../io/disk.ts";
import { contentName, envelopeName } from "./names.ts";
import {
  copyOf,
  type Fill,
  filledWith,
  removeQuietly,
  settle,
  stage,
  temporaryName,
  tryLink,
} from "./staging.ts";
import { storageError } from "./storage-errors.ts";

/** What is put into each mailbox. */
export interface Parcel {
  readonly id: MessageId;
  readonly envelope: Uint8Array;
  readonly content: { readonly path: string; readonly file: DiskFile };
  readonly how: "copy" | "link" | "stay";
  readonly sync: boolean;
  /** Next unique name in a maildir. */
  readonly maildirName: () => string;
}

export type MailboxKind = "maildir" | "spool";

const MAILDIR_FOLDERS = ["tmp", "new", "cur"] as const;
const MAX_NAME_TRIES = 100;

/**
 * Names that were added are put into `placed`, in their order, also when it throws: whoever undoes
 * the delivery removes them from the last to the first. Throws SPOOL_FULL, SPOOL_IO.
 */
export async function deliverTo(
  base: Disk,
  mailbox: string,
  parcel: Parcel,
  placed: string[],
): Promise<MailboxKind> {
  const path = join(base.directory, mailbox);
  try {
    if (base.stat(mailbox) === null) makeMailbox(base, mailbox);
    if (!isDirectory(base, mailbox)) throw noDirectory(path);
    const kind = kindOf(base, mailbox);
    if (kind === "maildir") await intoMaildir(base, mailbox, parcel, placed);
    else await intoFolder(base, mailbox, parcel, placed);
    return kind;
  } catch (error) {
    throw storageError(error, "deliver to", path);
  }
}

function makeMailbox(base: Disk, mailbox: string): void {
  try {
    base.makeDirectory(mailbox);
  } catch (error) {
    // Another session may have made it just now.
    if (!isDirectory(base, mailbox)) throw error;
  }
}

/** A maildir has three directories. One of them as a link would lead the message somewhere else. */
function kindOf(base: Disk, mailbox: string): MailboxKind {
  const folders = MAILDIR_FOLDERS.map((folder) => `${mailbox}/${folder}`);
  if (folders.some((folder) => base.stat(folder) === null)) return "spool";
  const odd = folders.find((folder) => !isDirectory(base, folder));
  if (odd !== undefined) throw noDirectory(join(base.directory, odd));
  return "maildir";
}

function isDirectory(base: Disk, name: string): boolean {
  return base.stat(name)?.kind === "directory";
}

function noDirectory(path: string): RelayError {
  return new RelayError("SPOOL_IO", path, `cannot deliver to "${path}": not a directory`);
}

/** The content alone, byte for byte. */
async function intoMaildir(
  base: Disk,
  mailbox: string,
  parcel: Parcel,
  placed: string[],
): Promise<void> {
  for (let tries = 1; tries <= MAX_NAME_TRIES; tries++) {
    const name = parcel.maildirName();
    const temporary = `${mailbox}/tmp/${name}`;
    const final = `${mailbox}/new/${name}`;
    if (base.stat(temporary) !== null || base.stat(final) !== null) continue;
    await stageContent(base, temporary, parcel);
    settle(base, temporary, final);
    placed.push(final);
    if (parcel.sync) await base.syncDirectory(`${mailbox}/new`);
    return;
  }
  throw new RelayError("SPOOL_IO", mailbox, `cannot find a free name in "${mailbox}/tmp"`);
}

/** The message under its own name, as it is in the spool. */
async function intoFolder(
  base: Disk,
  mailbox: string,
  parcel: Parcel,
  placed: string[],
): Promise<void> {
  const { id, sync } = parcel;
  if (parcel.how !== "stay") {
    const content = `${mailbox}/${contentName(id)}`;
    await put(base, content, placed, async (name) => await stageContent(base, name, parcel));
  }
  const fill = filledWith(parcel.envelope);
  await put(base, `${mailbox}/${envelopeName(id)}`, placed, async (name) => {
    await stage(base, name, sync, fill);
  });
  if (sync) await base.syncDirectory(mailbox);
}

async function put(
  base: Disk,
  name: string,
  placed: string[],
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = temporaryName(name);
  removeQuietly(base, temporary); // Left by a crash.
  // What an earlier delivery of the same message has left is replaced, but it is not ours to take back.
  const isNew = base.stat(name) === null;
  await write(temporary);
  settle(base, temporary, name);
  if (isNew) placed.push(name);
  // Renaming a file over a link to itself does nothing, and leaves both.
  else removeQuietly(base, temporary);
}

async function stageContent(base: Disk, name: string, parcel: Parcel): Promise<void> {
  const { content, how, sync } = parcel;
  if (how === "link" && tryLink(base, content, name)) return;
  const fill: Fill = copyOf(content.file);
  await stage(base, name, sync, fill);
}
