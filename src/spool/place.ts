/** Which directory the spool is: where it was moved away or unmounted, a file that is missing is not gone. */
import type { Disk, FileFacts } from "../io/disk.ts";

export class SpoolPlace {
  readonly #disk: Disk;
  #last: string | null;

  constructor(disk: Disk) {
    this.#disk = disk;
    this.#last = null;
    this.look();
  }

  /** The directory as it was when somebody last looked; costs nothing. null when it has never been there. */
  get last(): string | null {
    return this.#last;
  }

  /** The directory now; null while it is away. */
  look(): string | null {
    try {
      return placeOf(this.facts());
    } catch {
      return null;
    }
  }

  /** What the disk says of it now, for those who look for another reason. Throws what the disk throws. */
  facts(): FileFacts | null {
    const facts = this.#disk.stat(".");
    this.#last = placeOf(facts) ?? this.#last;
    return facts;
  }

  /** False while another directory is in its place, or none. */
  is(place: string | null): boolean {
    return this.look() === place;
  }
}

function placeOf(facts: FileFacts | null): string | null {
  return facts === null ? null : `${facts.device} ${facts.inode}`;
}
