/** An editor over a disk in memory with one message and three mailboxes, and what filters have it do. */
import type { Clock } from "../../src/core/clock.ts";
import type { Envelope } from "../../src/core/envelope.ts";
import type { Distribution } from "../../src/core/message-editor.ts";
import { type MessageId, newMessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { Disk } from "../../src/io/disk.ts";
import { SharedSync } from "../../src/spool/commit.ts";
import { FileEditor } from "../../src/spool/editor.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import type { CrashingDisk } from "./crashing-disk.ts";
import { anEnvelope } from "./messages.ts";

export const ID = "emailrelay.7.1.1";
export const CONTENT = "Subject: hello\r\n\r\nthe content of a message\r\n";
export const RECIPIENTS = ["a@one.example", "b@two.example", "c@three.example"];
export const ENVELOPE: Envelope = { ...anEnvelope, toRemote: RECIPIENTS };
const MAILBOXES = ["alice", "bob", "carl"];

/** "server": sealed, nothing synced yet, nothing promised. "client": leased, and accepted long ago. */
export type Role = "server" | "client";

export const envelopeOf = (role: Role) => `${ID}.envelope.${role === "server" ? "new" : "busy"}`;

export async function prepare(disk: CrashingDisk, role: Role): Promise<void> {
  for (const name of ["alice", "carl", "carl/tmp", "carl/new", "carl/cur"]) {
    disk.makeDirectory(name);
  }
  await disk.syncDirectory();
  await disk.syncDirectory("carl");
  const texts: Record<string, Buffer> = {
    [`${ID}.content`]: Buffer.from(CONTENT),
    [envelopeOf(role)]: encodeEnvelope(ENVELOPE, ""),
  };
  for (const [name, bytes] of Object.entries(texts)) {
    const file = disk.create(name);
    file.append(bytes);
    if (role === "client") await file.sync();
  }
  if (role === "client") await disk.syncDirectory();
}

export interface Bench {
  readonly editor: FileEditor;
  /** Ids that came into the queue. */
  readonly queued: MessageId[];
}

export function benchOn(disk: Disk, sync = true, clock: Clock = systemClock): Bench {
  const queued: MessageId[] = [];
  let count = 1;
  const editor = new FileEditor({
    disk,
    directory: sync ? new SharedSync(disk) : null,
    clock,
    pid: 7,
    newContent: (make) => {
      count += 1;
      const id = newMessageId(7, 1, count);
      return { id, made: make(`${id}.content`) };
    },
    end: (id, inQueue) => inQueue && queued.push(id),
  });
  return { editor, queued };
}

export type Work = (
  editor: FileEditor,
  files: { content: string; envelope: string },
) => Promise<unknown>;

export const filesOf = (role: Role) => ({
  content: `/memory/spool/${ID}.content`,
  envelope: `/memory/spool/${envelopeOf(role)}`,
});

export function distributing(how: Distribution["content"]): Work {
  return async (editor, files) => {
    await editor.distribute(files, {
      base: "/memory/spool",
      mailboxes: MAILBOXES,
      content: how,
      originals: "remove",
    });
  };
}

export const splitting: Work = async (editor, files) => {
  const [first = "", ...others] = RECIPIENTS;
  await editor.splitMessage(files, others.length, () => ({
    own: { ...ENVELOPE, toRemote: [first] },
    others: others.map((one) => ({ ...ENVELOPE, toRemote: [one] })),
  }));
};

export const prepending: Work = async (editor, files) => {
  await editor.prepend(files.content, Buffer.from("Message-ID: <x@y>\r\n"));
};

export const rewriting: Work = async (editor, files) => {
  await editor.writeEnvelope(files.envelope, { ...ENVELOPE, forwardTo: "elsewhere.example" });
};

export function has(disk: CrashingDisk, name: string, bytes: string | Buffer): boolean {
  return disk.peek(name)?.equals(Buffer.from(bytes)) ?? false;
}

export function mailboxesWhole(
  disk: CrashingDisk,
  contentIn: (mailbox: string) => string,
): boolean {
  const envelope = encodeEnvelope(ENVELOPE, "");
  const spoolLike = ["alice", "bob"].every(
    (box) =>
      has(disk, `${contentIn(box)}${ID}.content`, CONTENT) &&
      has(disk, `${box}/${ID}.envelope`, envelope),
  );
  const maildir = disk
    .names()
    .some((name) => /^carl\/new\/./.test(name) && has(disk, name, CONTENT));
  return spoolLike && maildir;
}

export const inMailbox = (mailbox: string) => `${mailbox}/`;
