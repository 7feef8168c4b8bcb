/**
 * Runs a program for a filter or a verifier: never through a shell, with a reduced environment and
 * only the rights of its account, for a limited time, and keeping a limited part of what it prints.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { constants as system } from "node:os";
import type { Readable } from "node:stream";
import { isErrno, RelayError } from "../core/errors.ts";
import { type Account, asRoot, startedByRoot } from "./identity.ts";
import { systemText } from "./system-text.ts";

export interface ProgramRun {
  /** Absolute. */
  readonly path: string;
  readonly args: readonly string[];
  /** Its user and group are the only ones of the program; null, or no root start: the process's own. */
  readonly account: Account | null;
  /** Milliseconds; 0 for no limit. */
  readonly timeoutMs: number;
  /** Ends the program: the run then rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

export interface ProgramEnd {
  /** 0 to 255; 128 and the signal's number for a program that a signal ended, as shells count. */
  readonly exitCode: number;
  /** The signal that ended it ("SIGSEGV"); null when it exited. */
  readonly killedBy: NodeJS.Signals | null;
  /** The first 8192 bytes of what it printed, as UTF-8. */
  readonly output: string;
  readonly timedOut: boolean;
}

/** What is read beyond this is thrown away, so that a program that prints a lot is not held up. */
const MAX_OUTPUT_BYTES = 8192;
/** How long output is awaited from a program that is gone: a background child may keep its pipe open for ever. */
const LAST_OUTPUT_MS = 200;
/** How long a killed program may take to go: one that hangs in the kernel is left to it. */
const DYING_MS = 5000;
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Trouble of the machine that may be over soon, as against a program that cannot be run. */
const SHORTAGES = ["EAGAIN", "EMFILE", "ENFILE", "ENOMEM", "ETXTBSY"] as const;

/**
 * Runs it to its end. Throws PROGRAM_START with the system's words ("No such file or directory")
 * when it cannot be run; `isShortage` tells whether trying again may help.
 */
export async function runProgram(run: ProgramRun): Promise<ProgramEnd> {
  run.signal.throwIfAborted();
  const child = start(run);
  const output = collect(child.stdout);
  const leash = new Leash(child, run);
  try {
    const { code, signal } = await leash.ended;
    run.signal.throwIfAborted();
    if (!leash.timedOut) await output.complete();
    return {
      exitCode: code ?? 128 + (signal === null ? 0 : system.signals[signal]),
      killedBy: signal,
      output: output.text(),
      timedOut: leash.timedOut,
    };
  } catch (error) {
    throw run.signal.aborted ? run.signal.reason : startFault(run.path, error);
  } finally {
    leash.release();
    child.stdout?.destroy();
  }
}

/** True when a program could not be run for want of processes, memory or descriptors. */
export function isShortage(error: unknown): boolean {
  return error instanceof RelayError && isErrno(error.cause, ...SHORTAGES);
}

/** What an operator may want to mend about a program that an option names; none when it looks well. Never throws. */
export function programWarnings(path: string, what: "filter" | "verifier"): string[] {
  let file: ReturnType<typeof statSync>;
  try {
    file = statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (!isErrno(error, "EACCES")) return [`${what} program does not exist: ${path}`];
    // What is closed to root (NFS) may be open to the program's account.
    return startedByRoot() ? [] : [`${what} program is not executable: ${path}`];
  }
  if (file === undefined) return [`${what} program does not exist: ${path}`];
  if (!file.isFile()) return [`invalid program: ${path}`];
  return (file.mode & 0o111) === 0 ? [`${what} program is not executable: ${path}`] : [];
}

function start({ path, args, account }: ProgramRun): ChildProcess {
  if (!path.startsWith("/")) throw new RelayError("PROGRAM_START", path, "Not an absolute path");
  const identity =
    account !== null && startedByRoot() ? { uid: account.uid, gid: account.gid } : {};
  // Only root may change both user and group; the child is past that when spawn() returns, since
  // spawn() waits for its execve(). Nothing else of this process runs meanwhile.
  return asRoot(() => {
    const umask = process.umask(0o077);
    try {
      refuseUnknownFormat(path);
      return spawn(path, args, {
        ...identity,
        cwd: "/",
        env: { PATH: "/usr/bin:/bin", IFS: " \t\n" },
        stdio: ["ignore", "pipe", "ignore"],
        detached: true,
        shell: false,
      });
    } catch (error) {
      throw error instanceof RelayError ? error : startFault(path, error);
    } finally {
      process.umask(umask);
    }
  });
}

/**
 * A file without "#!" that is no binary: the C library would hand it to /bin/sh, an empty file as a
 * program that succeeds. Whatever else keeps it from running is left to execve() to say.
 */
function refuseUnknownFormat(path: string): void {
  const start = Buffer.alloc(4);
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { mode } = fstatSync(file);
      if ((mode & 0o111) === 0 || (mode & constants.S_IFMT) !== constants.S_IFREG) return;
      readSync(file, start, 0, 4, 0);
    } finally {
      closeSync(file);
    }
  } catch {
    return;
  }
  if (start.toString("latin1").startsWith("#!") || start.equals(ELF)) return;
  throw new RelayError("PROGRAM_START", path, "Exec format error");
}

const ELF = Buffer.from("\x7fELF", "latin1");

function startFault(path: string, cause: unknown): RelayError {
  if (cause instanceof RelayError) return cause;
  const text = systemText(cause);
  const sentence = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return new RelayError("PROGRAM_START", path, sentence, { cause });
}

interface Output {
  /** Resolves at the end of the output, or soon if something else keeps the pipe open. */
  complete(): Promise<void>;
  text(): string;
}

function collect(stdout: Readable | null): Output {
  const kept: Buffer[] = [];
  let size = 0;
  const closed = new Promise<void>((resolve) => {
    stdout?.once("close", resolve);
    stdout?.on("error", () => resolve());
  });
  stdout?.on("data", (chunk: Buffer) => {
    if (size < MAX_OUTPUT_BYTES) kept.push(chunk.subarray(0, MAX_OUTPUT_BYTES - size));
    size += chunk.length;
  });
  return {
    async complete() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        // After the timers of a busy moment, sockets are read once more before this resolves.
        timer = setTimeout(() => setImmediate(resolve), LAST_OUTPUT_MS);
      });
      await Promise.race([closed, late]);
      clearTimeout(timer);
    },
    text: () => Buffer.concat(kept).toString("utf8"),
  };
}

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Watches over one program: kills its whole process group when its time is up or nobody wants it any more. */
class Leash {
  /** Rejects with the system's error when the program could not be started. */
  readonly ended: Promise<Exit>;
  timedOut = false;
  readonly #child: ChildProcess;
  readonly #signal: AbortSignal;
  readonly #abort = () => this.#kill();
  #timer: NodeJS.Timeout | undefined;
  #exited = false;
  #giveUp: () => void = () => undefined;

  constructor(child: ChildProcess, { timeoutMs, signal }: ProgramRun) {
    this.#child = child;
    this.#signal = signal;
    this.ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, by) => {
        this.#exited = true;
        resolve({ code, signal: by });
      });
      this.#giveUp = () => {
        child.unref();
        resolve({ code: null, signal: "SIGKILL" });
      };
    });
    signal.addEventListener("abort", this.#abort, { once: true });
    if (timeoutMs > 0) {
      this.#timer = setTimeout(() => this.#expire(), Math.min(timeoutMs, MAX_TIMER_MS));
    }
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener("abort", this.#abort);
  }

  #expire(): void {
    if (this.#exited) return;
    this.timedOut = true;
    this.#kill();
  }

  #kill(): void {
    const { pid } = this.#child;
    // Once it has been waited for, its number may belong to somebody else.
    if (pid === undefined || this.#exited) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#giveUp, DYING_MS);
    try {
      asRoot(() => process.kill(-pid, "SIGKILL"));
    } catch {
      // It has ended already: the exit is about to be told.
    }
  }
}
