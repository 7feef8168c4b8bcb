/** Writes whole lines to a descriptor and never throws: a full disk or a dead pipe must not stop the mail. */
import { writeSync } from "node:fs";
import { isErrno } from "../core/errors.ts";

/** How long a pipe whose reader is slow may hold us up, in steps of a millisecond. */
const PATIENCE_STEPS = 10;
const LF = 0x0a;

export class LineWriter {
  readonly #lossLine: (lost: number) => string;
  #lost = 0;
  /** True if half a line has been written. */
  #torn = false;

  /** `lossLine` makes the line that says how many lines could not be written. */
  constructor(lossLine: (lost: number) => string) {
    this.#lossLine = lossLine;
  }

  /** One or more of them, in one call where the system takes them so. */
  write(fd: number, ...lines: readonly string[]): void {
    if (this.#lost > 0 && this.#put(fd, [this.#lossLine(this.#lost)]) === 0) {
      this.#lost += lines.length;
      return;
    }
    this.#lost = lines.length - this.#put(fd, lines);
  }

  /** Returns how many of the lines were written whole. */
  #put(fd: number, lines: readonly string[]): number {
    const head = this.#torn ? "\n" : "";
    const data = Buffer.from(`${head}${lines.join("\n")}\n`);
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
        return this.#writtenOf(data.subarray(0, done), head);
      }
    }
    this.#torn = false;
    return lines.length;
  }

  /** How many whole lines are in what was written. */
  #writtenOf(written: Buffer, head: string): number {
    if (written.length > 0) this.#torn = written[written.length - 1] !== LF;
    return Math.max(0, written.filter((byte) => byte === LF).length - head.length);
  }
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}
