/** The command: from the command line to the exit code, by way of the background where that is asked for. */
import { readFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { readConfiguration } from "./config/configuration.ts";
import type { DaemonConfig } from "./core/config.ts";
import { describeError, RelayError } from "./core/errors.ts";
import { type Daemon, inheritedDescriptors, openDaemon } from "./daemon.ts";
import { type Background, background, closeLeaked, detach } from "./io/detach.ts";
import { dropInheritedRights } from "./io/identity.ts";
import { pathExists } from "./io/path-exists.ts";
import { programWarnings } from "./io/program.ts";

export interface Start {
  /** As in `process`: interpreter, script, arguments. */
  readonly argv: readonly string[];
  readonly env: Record<string, string | undefined>;
}

/** Runs relayd to its end; resolves to the exit code (0, 1, or 2 when a port cannot be had). */
export async function main(start: Start): Promise<number> {
  const [execPath = process.execPath, script = "relayd", ...args] = start.argv;
  const program = basename(script, extname(script));
  const parent = background(start.env);
  const reading = readConfiguration({
    argv: args,
    program,
    version: ownVersion(),
    appDirectory: dirname(script),
    cwd: process.cwd(),
    env: start.env,
    fileText: parent?.handedText ?? null,
    exists: pathExists,
    programWarnings,
  });
  switch (reading.kind) {
    case "help":
    case "version":
      process.stdout.write(reading.text);
      return 0;
    case "errors":
      process.stderr.write(reading.lines.map((line) => `${line}\n`).join(""));
      return reading.exitCode;
    case "check": {
      const { checkConfiguration } = await import("./check-config.ts");
      return checkConfiguration(reading, (line) => process.stdout.write(`${line}\n`));
    }
    case "run":
      break;
  }
  const { config } = reading;
  if (parent === null) {
    for (const text of reading.warnings) process.stderr.write(`${program}: warning: ${text}\n`);
    const descriptors = inheritedDescriptors(config);
    // Programs that we start would have them too.
    closeLeaked(descriptors);
    if (config.detach) {
      const childArgs = [...process.execArgv, script, ...args];
      const { fileText: text } = reading;
      return await detach({ execPath, args: childArgs, env: start.env, descriptors, text });
    }
  }
  return await runToEnd(config, parent);
}

async function runToEnd(config: DaemonConfig, parent: Background | null): Promise<number> {
  // Mail comes in bursts: code that has rested in between would be compiled again for each of them.
  setFlagsFromString("--no-flush-bytecode");
  const complain = (text: string) => process.stderr.write(`${config.program}: ${text}\n`);
  dropInheritedRights();
  process.umask(0o007); // Spool and log files are 0660, whoever starts us.
  // Whoever sees the port open may send a signal at once: until the daemon listens to them, they are only noted.
  const early = noteSignals();
  let daemon: Daemon;
  try {
    daemon = await openDaemon({ config, version: ownVersion(), complain });
  } catch (error) {
    complain(`error: ${describeError(error)}`);
    return error instanceof RelayError && error.code === "BIND" ? 2 : 1;
  }
  return await daemon.live(parent, early);
}

const SIGNALS = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT", "SIGQUIT"] as const;

/** Keeps signals from ending the program unheard. The returned function stops that, and says which have come. */
function noteSignals(): () => ReadonlySet<NodeJS.Signals> {
  const come = new Set<NodeJS.Signals>();
  const note = (signal: NodeJS.Signals) => void come.add(signal);
  for (const signal of SIGNALS) process.on(signal, note);
  return () => {
    for (const signal of SIGNALS) process.off(signal, note);
    return come;
  };
}

/** The version in package.json, which stands two or three levels above, compiled or not. */
function ownVersion(): string {
  for (const up of ["..", "../.."]) {
    try {
      const text = readFileSync(join(import.meta.dirname, up, "package.json"), "utf8");
      return /"version": "([^"]+)"/.exec(text)?.[1] ?? "";
    } catch {
      // Not this level.
    }
  }
  return "";
}
