/** Where a filter finds the two files of a message. */
import { join } from "node:path";
import type { MessageFiles } from "../core/store.ts";
import type { Disk } from "../io/disk.ts";

export function spoolFiles(disk: Disk, content: string, envelope: string): MessageFiles {
  return { content: join(disk.directory, content), envelope: join(disk.directory, envelope) };
}
