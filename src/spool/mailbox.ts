/**
 * Puts a message into one mailbox: a maildir, or a directory of spool files. A reader looks for
 * envelopes, so the content is in its place before the envelope is. Nothing that is there is replaced.
 */
import { basename, dirname, join } from "node:path";
import { isErrno, RelayError } from "../core/errors.ts";
import { type MessageId, numberedId } from "../core/message-id.ts";
import type { Disk, DiskFile } from "../io/disk.ts";
import { contentName, envelopeName } from "./names.ts";
import {
  copyOf,
  type Fill,
  filledWith,
  haveSameBytes,
  replace,
  settle,
  stage,
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
  return notInto(path, "not a directory");
}

function noFile(path: string): RelayError {
  return notInto(dirname(path), `"${basename(path)}" is not a regular file`);
}

function notInto(path: string, why: string): RelayError {
  return new RelayError("SPOOL_IO", path, `cannot deliver to "${path}": ${why}`);
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

/**
 * The message under its own name, as it is in the spool, or the next one that is free: where the clock
 * goes back, and process ids come again, ids do too, and what is there may be all there is of another message.
 */
async function intoFolder(
  base: Disk,
  mailbox: string,
  parcel: Parcel,
  placed: string[],
): Promise<void> {
  // Content that stays in the spool is found by the name of the envelope.
  const tries = parcel.how === "stay" ? 1 : MAX_NAME_TRIES;
  for (let n = 1; n <= tries; n++) {
    const id = n === 1 ? parcel.id : numberedId(parcel.id, n);
    if (!(await putAs(id, { base, mailbox }, parcel, placed))) continue;
    if (parcel.sync) await base.syncDirectory(mailbox);
    return;
  }
  throw notInto(join(base.directory, mailbox), `another message is named "${parcel.id}" there`);
}

/**
 * False when the name is another message's. What an earlier delivery of this one has left is not ours to take back,
 * but its envelope is replaced: it says more after each attempt.
 */
async function putAs(
  id: MessageId,
  { base, mailbox }: { readonly base: Disk; readonly mailbox: string },
  parcel: Parcel,
  placed: string[],
): Promise<boolean> {
  const content = `${mailbox}/${contentName(id)}`;
  const envelope = `${mailbox}/${envelopeName(id)}`;
  const bytes = Buffer.from(parcel.envelope);
  const { file: source } = parcel.content;
  const there = {
    content: await look(base, content, parcel, (file) => haveSameBytes(file, source)),
    envelope: await look(base, envelope, parcel, (file) => file.readAll().equals(bytes)),
  };
  // Content that stays in the spool is made there under a name that nobody has: the envelope is this message's too.
  const isSame = there.content === "same" || parcel.how === "stay";
  if (there.content === "other" || (there.envelope === "other" && !isSame)) return false;
  if (there.content === "none" && parcel.how !== "stay") {
    try {
      // Under its final name at once: whoever has made it has the name.
      await stageContent(base, content, parcel);
    } catch (error) {
      if (isErrno(error, "EEXIST")) return false;
      throw error;
    }
    placed.push(content);
  }
  if (there.envelope !== "same") {
    await replace(base, envelope, parcel.sync, filledWith(bytes));
    if (there.envelope === "none") placed.push(envelope);
  }
  return true;
}

/** Throws SPOOL_IO for what is no file, and what the disk throws. */
async function look(
  base: Disk,
  name: string,
  { sync }: Parcel,
  isSame: (file: DiskFile) => boolean | Promise<boolean>,
): Promise<"none" | "same" | "other"> {
  const facts = base.stat(name);
  if (facts === null) return "none";
  if (facts.kind !== "file") throw noFile(join(base.directory, name));
  let file: DiskFile;
  try {
    file = base.open(name);
  } catch (error) {
    if (isErrno(error, "EACCES", "EPERM")) return "other"; // Nobody can tell.
    throw error;
  }
  try {
    if (!(await isSame(file))) return "other";
    // Whoever wrote it may have been killed before it was on disk.
    if (sync) await file.sync();
    return "same";
  } finally {
    file.close();
  }
}

async function stageContent(base: Disk, name: string, parcel: Parcel): Promise<void> {
  const { content, how, sync } = parcel;
  if (how === "link" && tryLink(base, content, name)) return;
  const fill: Fill = copyOf(content.file);
  await stage(base, name, sync, fill);
}
