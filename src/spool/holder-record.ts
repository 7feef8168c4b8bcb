/** What a holder's file says, and how it looks while nobody can read it. */
import { closeSync, fstatSync, lstatSync, openSync, readFileSync } from "node:fs";
import { isErrno } from "../core/errors.ts";
import { READ } from "../io/reading.ts";
import type { Home } from "./process-table.ts";
import { type Removing, readMark } from "./removal-mark.ts";

/** `since`, `leases`: as in `Holder`, ms since 1970; `leases` is null until the first one. */
export type HolderRecord = Home & { readonly since: number; readonly leases: number | null };

/** What a file says. `record`: null where that is none, or cannot be read. */
export interface HolderSaid {
  readonly mtimeMs: number;
  readonly record: HolderRecord | null;
  readonly removing: Removing | null;
}

/** For both times, whatever they are. */
const TIMES_BYTES = 128;

/** As long for each record of a process: it is written over the one before. */
export function encodeRecord(record: HolderRecord): string {
  const { host, boot, namespace } = record;
  const bytes = JSON.stringify({ host, boot, namespace }).length + TIMES_BYTES;
  return `${JSON.stringify(record).padEnd(bytes)}\n`;
}

/** null for links, fifos and the like: none of us made them. Throws ENOENT ... */
export function readHolder(path: string): HolderSaid | null {
  const facts = lstatSync(path);
  if (!facts.isFile()) return null;
  try {
    const fd = openSync(path, READ);
    try {
      const { mtimeMs } = fstatSync(fd);
      const [record = "", mark = ""] = readFileSync(fd, "utf8").split("\n");
      return { mtimeMs, record: parseRecord(record), removing: readMark(mark) };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isErrno(error, "ENOENT", "ELOOP")) throw error;
    // Another account's, or a fault of the disk: its heartbeat is known all the same.
    return { mtimeMs: facts.mtimeMs, record: null, removing: null };
  }
}

function parseRecord(text: string): HolderRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null; // Being written, or cut short: its heartbeat tells.
  }
  const record = value as Partial<HolderRecord> | null;
  const { host, boot, namespace, since, leases = since } = record ?? {};
  if (typeof host !== "string" || typeof boot !== "string") return null;
  if (typeof namespace !== "string" || typeof since !== "number") return null;
  if (leases !== null && typeof leases !== "number") return null;
  return { host, boot, namespace, since, leases };
}
