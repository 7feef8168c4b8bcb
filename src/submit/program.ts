/** The program around a submission: options in, exit status out. Touches the process only through its surroundings. */
import { existsSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Clock } from "../core/clock.ts";
import { describeError } from "../core/errors.ts";
import type { Store } from "../core/store.ts";
import { plainReason } from "../spool/storage-errors.ts";
import { after, untilDot } from "./content.ts";
import { type CommandLine, readCommandLine, usage } from "./options.ts";
import { leadingContent, printable, readRequest } from "./request.ts";
import { submit } from "./submit.ts";

export interface Surroundings {
  /** What we were called; starts every complaint. */
  readonly program: string;
  /** What "@app" stands for. */
  readonly appDirectory: string;
  readonly version: () => string;
  readonly stdin: () => AsyncIterable<Uint8Array>;
  /** True if a person types the input. */
  readonly terminal: () => boolean;
  /** One line, or several, each with its end. */
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  readonly openStore: (directory: string) => Pick<Store, "create">;
  readonly clock: Pick<Clock, "now">;
  readonly pid: number;
}

/** Resolves to the exit status, 0 or 1, when everything has been said. */
export async function runSubmit(args: readonly string[], around: Surroundings): Promise<number> {
  const line = readCommandLine(args);
  if (line.options.has("help")) {
    around.print(usage(around.program));
    return 0;
  }
  if (line.errors.length > 0) {
    for (const error of line.errors)
      around.complain(`${around.program}: error: ${printable(error)}\n`);
    const indent = " ".repeat(around.program.length + 2);
    around.complain(`${indent}try "${around.program} --help" for more information\n`);
    return 1;
  }
  if (line.options.has("version")) {
    around.print(`${around.version()}\n`);
    return 0;
  }
  try {
    await submitInput(line, around);
    return 0;
  } catch (error) {
    around.complain(`${around.program}: ${printable(describeError(error))}\n`);
    return 1;
  }
}

async function submitInput(line: CommandLine, around: Surroundings): Promise<void> {
  const request = readRequest(line);
  const leading = leadingContent(line);
  const directory = spoolDirectory(line, around);
  const input = await openInput(line, around);
  const store = around.openStore(directory);
  const stations = { store, clock: around.clock, pid: around.pid };
  for (const id of await submit(request, after(leading, input), stations)) {
    const name = `${id}.content`;
    if (line.options.has("verbose")) around.print(`${join(directory, name)}\n`);
    else if (line.options.has("filename")) around.print(`${name}\n`);
  }
}

/** Where --spool-dir says, else where mail is kept on this machine. */
function spoolDirectory({ options }: CommandLine, { appDirectory }: Surroundings): string {
  const given = options.get("spool-dir")?.[0]?.replace(/^@app/, () => appDirectory);
  const directory = given === undefined ? defaultSpool() : resolve(given);
  let isDirectory = false;
  try {
    isDirectory = statSync(directory).isDirectory();
  } catch (error) {
    throw new Error(`invalid spool directory: ${directory}: ${plainReason(error)}`, {
      cause: error,
    });
  }
  if (!isDirectory) throw new Error(`invalid spool directory: ${directory}: not a directory`);
  return directory;
}

function defaultSpool(): string {
  const ours = "/var/spool/relayd";
  const theirs = "/var/spool/emailrelay";
  return !existsSync(ours) && existsSync(theirs) ? theirs : ours;
}

async function openInput(
  { options }: CommandLine,
  around: Surroundings,
): Promise<AsyncIterable<Uint8Array> | null> {
  if (options.has("no-stdin")) return null;
  const path = options.get("input-file")?.[0];
  if (path === undefined) return around.terminal() ? untilDot(around.stdin()) : around.stdin();
  try {
    const file = await open(path);
    if (!(await file.stat()).isDirectory()) return file.createReadStream();
    await file.close();
  } catch (error) {
    throw new Error(`cannot open input file [${path}]: ${plainReason(error)}`, { cause: error });
  }
  throw new Error(`cannot open input file [${path}]: is a directory`);
}
