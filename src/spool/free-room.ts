/** Whether there is room for new mail: asked at MAIL, so that the disk is never full by our doing. */
import { statfsSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import type { Journal } from "../core/events.ts";

export interface FreeRoomOptions {
  readonly directory: string;
  /** The smaller of the two stays free. */
  readonly minFree: { readonly bytes: number; readonly percent: number };
  readonly journal: Journal;
  readonly clock: Clock;
}

/** What the file system said; free for whoever is not root. */
interface Room {
  readonly total: number;
  readonly free: number;
  /** False when no more files can be made. */
  readonly names: boolean;
}

/** How long an answer of the file system is good for. */
const FRESH_MS = 1000;
/** Content, envelope, and what they are called while they are rewritten. */
const NAMES_NEEDED = 4;

export class FreeRoom {
  readonly #options: FreeRoomOptions;
  #asked = Number.NEGATIVE_INFINITY;
  #room: Room | null = null;
  /** True while mail is refused, so that each end of it is told once. */
  #short = false;

  constructor(options: FreeRoomOptions) {
    this.#options = options;
  }

  /** Whether a message of so many bytes may come. */
  for(bytes: number): boolean {
    const { minFree } = this.#options;
    if (minFree.bytes === 0 || minFree.percent === 0) return true;
    const room = this.#look();
    if (room === null) return true; // Storing it will tell what is wrong.
    const reserve = Math.min(minFree.bytes, (room.total * minFree.percent) / 100);
    const enough = room.names && room.free >= reserve;
    this.#tell(enough, room, reserve);
    return enough && room.free - bytes >= reserve;
  }

  #look(): Room | null {
    const now = this.#options.clock.monotonic();
    if (now - this.#asked < FRESH_MS) return this.#room;
    this.#asked = now;
    this.#room = roomIn(this.#options.directory);
    return this.#room;
  }

  #tell(enough: boolean, { free, names }: Room, reserve: number): void {
    if (enough !== this.#short) return;
    this.#short = !enough;
    const { directory, journal } = this.#options;
    const left = names
      ? `${megabytes(free)} MB free of ${megabytes(reserve)} MB`
      : "no free inodes";
    const text = enough
      ? `there is room in "${directory}" again: taking mail`
      : `no room in "${directory}": ${left} that --spool-min-free keeps: refusing mail`;
    journal.tell({ kind: "note", level: "warning", detail: false, text });
  }
}

/** null when the file system does not say. */
function roomIn(directory: string): Room | null {
  try {
    const { blocks, bavail, bsize, files, ffree } = statfsSync(directory);
    if (blocks === 0) return null;
    // File systems that have no fixed number of files say 0.
    const names = files === 0 || ffree >= NAMES_NEEDED;
    return { total: blocks * bsize, free: bavail * bsize, names };
  } catch {
    return null;
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
