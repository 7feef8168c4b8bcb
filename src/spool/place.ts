/** Which directory the spool is: where it was moved away or unmounted, a file that is missing is not gone. */
import type { Disk } from "../io/disk.ts";

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
    const found = this.#find();
    this.#last = found ?? this.#last;
    return found;
  }

  /** False while another directory is in its place, or none. */
  is(place: string | null): boolean {
    return this.look() === place;
  }

  #find(): string | null {
    try {
      const facts = this.#disk.stat(".");
      return facts === null ? null : `${facts.device} ${facts.inode}`;
    } catch {
      return null;
    }
  }
}
