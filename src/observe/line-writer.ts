/** Writes whole lines to a descriptor, at once, and never throws: a full disk or a dead pipe must not stop the mail. */
import { writeSync } from "node:fs";
import { isErrno } from "../core/errors.ts";

/** How long a pipe whose reader is slow may hold us up, in steps of a millisecond. */
const PATIENCE_STEPS = 10;

export class LineWriter {
  readonly #lossLine: (lost: number) => string;
  #lost = 0;
  /** True if half a line has been written. */
  #torn = false;

  /** `lossLine` makes the line that says how many lines could not be written. */
  constructor(lossLine: (lost: number) => string) {
    this.#lossLine = lossLine;
  }

  write(fd: number, line: string): void {
    if (this.#lost > 0 && !this.#put(fd, this.#lossLine(this.#lost))) {
      this.#lost += 1;
      return;
    }
    this.#lost = this.#put(fd, line) ? 0 : 1;
  }

  #put(fd: number, line: string): boolean {
    const data = Buffer.from(`${this.#torn ? "\n" : ""}${line}\n`);
    let done = 0;
    // A writer that has just lost lines does not wait again.
    let patience = this.#lost > 0 ? 0 : PATIENCE_STEPS;
    while (done < data.length) {
      try {
        done += writeSync(fd, data, done);
      } catch (error) {
        if (isErrno(error, "EAGAIN") && patience > 0) {
          patience -= 1;
          pause();
          continue;
        }
        this.#torn ||= done > 0;
        return false;
      }
    }
    this.#torn = false;
    return true;
  }
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}
