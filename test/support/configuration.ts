/** Reads a command line as the program would, in a world made for the test. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import {
  type Configuration,
  type Question,
  readConfiguration,
} from "../../src/config/configuration.ts";
import type { DaemonConfig, InstanceConfig } from "../../src/core/config.ts";

interface World {
  readonly program?: string;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly exists?: Question["exists"];
  readonly programWarnings?: Question["programWarnings"];
}

export function read(argv: readonly string[], world: World = {}): Configuration {
  return readConfiguration({
    argv,
    program: world.program ?? "relayd",
    version: "1.2.3",
    appDirectory: "/opt/relayd",
    cwd: world.cwd ?? "/home/me",
    env: world.env ?? {},
    exists: world.exists ?? (() => true),
    fileText: null,
    programWarnings: world.programWarnings ?? (() => []),
  });
}

/** The lines on standard error, or none. */
export function errorsOf(argv: readonly string[], world?: World): readonly string[] {
  const reading = read(argv, world);
  return reading.kind === "errors" ? reading.lines : [];
}

export function warningsOf(argv: readonly string[], world?: World): readonly string[] {
  const reading = read(argv, world);
  if (reading.kind !== "run") throw new Error(`not accepted: ${JSON.stringify(reading)}`);
  return reading.warnings;
}

export function configOf(argv: readonly string[], world?: World): DaemonConfig {
  const reading = read(argv, world);
  if (reading.kind !== "run") throw new Error(`not accepted: ${JSON.stringify(reading)}`);
  return reading.config;
}

/** The settings of the only, or the first, instance. */
export function instanceOf(argv: readonly string[], world?: World): InstanceConfig {
  const [instance] = configOf(argv, world).instances;
  if (instance === undefined) throw new Error("no instance");
  return instance;
}

/** Writes a configuration file that is removed after the tests of the file; returns its path. */
export function configFile(text: string): string {
  const directory = mkdtempSync(join(tmpdir(), "relayd-config-"));
  after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "relayd.conf");
  writeFileSync(path, text);
  return path;
}
