/**
 * The message that a holder is removing, behind the record in its file: a kill between its envelope and its content
 * leaves content that nobody could tell from what another program is writing.
 */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { type MessageId, parseMessageId } from "../core/message-id.ts";

export interface Removing {
  readonly id: MessageId;
  /** Of its content: another message may have the id after a clock went back. */
  readonly inode: number;
  /** When it began, ms since 1970. */
  readonly atMs: number;
}

/** One line, as long for each message whose name relayd has made: it is written over the one before. */
const LINE_BYTES = 120;
const { O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;

export class RemovalMark {
  /** "none" when it has failed: tried again after `close`. */
  #fd: number | "none" | null = null;

  /** `path`: of the holder's file. `position`: the bytes of its record. Tells nobody when it fails: then content stays for a day. */
  write({ id, inode, atMs }: Removing, path: string, position: number): void {
    if (this.#fd === "none") return;
    try {
      this.#fd ??= openSync(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
      writeSync(this.#fd, `${`${id} ${inode} ${atMs}`.padEnd(LINE_BYTES - 1)}\n`, position);
    } catch {
      this.close();
      this.#fd = "none";
    }
  }

  /** Now and then: another file may have that name by now, and no file system should be kept busy for long. */
  close(): void {
    const fd = this.#fd;
    // First: after an error it is closed all the same, and the number is another file's.
    this.#fd = null;
    if (typeof fd !== "number") return;
    try {
      closeSync(fd);
    } catch {
      // EIO of what was written before: a mark may be lost.
    }
  }
}

/** null for what is no such line. */
export function readMark(line: string): Removing | null {
  const [, name = "", inode, ms] = /^(\S+) (\d{1,20}) (\d{1,16}) *$/.exec(line) ?? [];
  const id = parseMessageId(name);
  return id === null || ms === undefined ? null : { id, inode: Number(inode), atMs: Number(ms) };
}
