/** Whether a store commits through a journal. */
import type { Clock } from "../core/clock.ts";
import type { Journal } from "../core/events.ts";
import type { Disk } from "../io/disk.ts";
import { CommitJournal, type JournalTerms } from "./journal.ts";
import type { ProcessTable } from "./process-table.ts";

/** With --shared-spool there is none: after a power cut the other program may be the first to read. */
export function openCommitJournal(
  store: {
    readonly sync: boolean;
    readonly shared: boolean;
    readonly recover?: boolean;
    readonly clock: Clock;
    readonly journal: Journal;
    readonly commits?: JournalTerms;
  },
  disk: Disk,
  processes: ProcessTable,
): CommitJournal | null {
  const { sync, shared, recover, clock, journal, commits } = store;
  const { journaling } = disk;
  if (commits === undefined || !sync || shared || recover === false) return null;
  if (journaling === undefined) return null;
  const warn = (text: string) =>
    journal.tell({ kind: "note", level: "warning", detail: false, text });
  return new CommitJournal({ disk, journaling, clock, processes, warn, ...commits });
}
