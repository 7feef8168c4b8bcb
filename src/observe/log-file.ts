/** The log file: appended to, shared with the group, opened anew when its name changes with the hour or when told to. */
import { closeSync, constants, fchownSync, fstatSync, openSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { RelayError } from "../core/errors.ts";
import type { Level } from "../core/events.ts";
import { asRoot } from "../io/identity.ts";
import { localDay } from "./line-format.ts";
import type { LineWriter } from "./line-writer.ts";

export interface LogFileOptions {
  /** May contain %d (YYYYMMDD) and %h (hour). */
  readonly path: string;
  /** Group of a file that root makes; null to leave it. */
  readonly group: number | null;
  readonly clock: Clock;
  readonly writer: LineWriter;
  /** Makes a line about the log itself. */
  readonly line: (level: Level, text: string) => string;
}

const FLAGS =
  constants.O_WRONLY |
  constants.O_APPEND |
  constants.O_CREAT |
  constants.O_NOCTTY |
  // Only a fifo without a reader would wait.
  constants.O_NONBLOCK;

/** Gathered text is written before it gets longer: a pipe takes so much whole or not at all. */
const MOST_GATHERED = 4096;

export class LogFile {
  readonly #options: LogFileOptions;
  #gathered: string[] = [];
  #length = 0;
  #path: string;
  #fd: number;
  #minute: number;
  /** False when the name stays the same for ever. */
  readonly #turns: boolean;

  /** Throws LOG_OPEN. */
  constructor(options: LogFileOptions) {
    this.#options = options;
    this.#turns = /%[dh]/.test(options.path);
    this.#minute = this.#thisMinute();
    this.#path = this.#expanded();
    this.#fd = this.#open();
  }

  /** Lines are gathered until `flush()`, so that those of one turn of the event loop are written with one call. */
  write(line: string): void {
    if (this.#turns && this.#thisMinute() !== this.#minute) this.#turn();
    if (this.#length + line.length >= MOST_GATHERED) this.flush();
    this.#gathered.push(line);
    this.#length += line.length + 1;
  }

  flush(): void {
    if (this.#gathered.length === 0) return;
    const lines = this.#gathered;
    this.#gathered = [];
    this.#length = 0;
    this.#options.writer.write(this.#fd, ...lines);
  }

  /** Follows a file that was renamed or removed. A new file that cannot be had leaves the old one in use. */
  reopen(): void {
    this.flush();
    const before = this.#fd;
    try {
      this.#fd = this.#open();
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      const text = `${error.message}: going on with the present one`;
      this.#options.writer.write(before, this.#options.line("error", text));
      return;
    }
    closeSync(before);
  }

  close(): void {
    this.flush();
    closeSync(this.#fd);
  }

  #turn(): void {
    this.#minute = this.#thisMinute();
    const path = this.#expanded();
    if (path === this.#path) return;
    this.#path = path;
    this.reopen();
  }

  #thisMinute(): number {
    return Math.floor(this.#options.clock.now() / 60_000);
  }

  #expanded(): string {
    return logPathAt(this.#options.path, this.#options.clock.now());
  }

  #open(): number {
    const { group } = this.#options;
    try {
      return asRoot(() => {
        const fd = openSync(this.#path, FLAGS, 0o660);
        const found = fstatSync(fd);
        const ours = found.uid === 0 && process.geteuid?.() === 0;
        if (group !== null && ours && found.isFile() && found.gid !== group) {
          fchownSync(fd, 0, group);
        }
        return fd;
      });
    } catch (cause) {
      const message = `cannot open log file: ${this.#path}`;
      throw new RelayError("LOG_OPEN", "--log-file", message, { cause });
    }
  }
}

/** The name that a log file has at that moment: %d is YYYYMMDD, %h the hour, in local time. `now`: milliseconds since 1970. */
export function logPathAt(path: string, now: number): string {
  const date = new Date(now);
  const hour = String(date.getHours()).padStart(2, "0");
  return path.replace(/%[dh]/g, (word) => (word === "%d" ? localDay(date) : hour));
}
