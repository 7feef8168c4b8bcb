#!/usr/bin/env node
/** relayd-submit: puts a message into the spool, whether the daemon runs or not. */
import { readFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { addAbortSignal } from "node:stream";
import { isatty } from "node:tty";
import { systemClock } from "../io/clock.ts";
import { runSubmit } from "../submit/program.ts";
import { submissionStore } from "../submit/submission-store.ts";

const [, script = "relayd-submit", ...args] = process.argv;
const interruption = new AbortController();
let interruptedBy: NodeJS.Signals | null = null;

// Half a message is taken back before we go.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    interruptedBy = signal;
    interruption.abort(new Error(`interrupted by ${signal}`));
  });
}
process.umask(0o007); // Spool files are 0660, whoever starts us.

const status = await runSubmit(args, {
  program: basename(script, extname(script)),
  appDirectory: dirname(script),
  version: ownVersion,
  stdin: () => addAbortSignal(interruption.signal, process.stdin),
  terminal: () => isatty(0),
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
  openStore: (directory) => submissionStore(directory, systemClock, process.pid),
  clock: systemClock,
  pid: process.pid,
});
if (interruptedBy !== null) process.kill(process.pid, interruptedBy);
process.exit(status);

/** The version in package.json, three levels above. */
function ownVersion(): string {
  const text = readFileSync(join(import.meta.dirname, "../../../package.json"), "utf8");
  return /"version": "([^"]+)"/.exec(text)?.[1] ?? "";
}
