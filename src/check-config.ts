/** `--check-config`: reads everything that a start would read, and says everything that is wrong with it. */
import { mkdtempSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { checkSecretsFile, worldReadable } from "./auth/secrets-file.ts";
import type { Configuration, Problem } from "./config/configuration.ts";
import type { InstanceConfig, LogConfig } from "./core/config.ts";
import { describeError } from "./core/errors.ts";
import { findAccount } from "./io/identity.ts";
import { loadServerKeys } from "./io/server-tls.ts";
import { openClientTls } from "./smtp/client-tls.ts";

type Check = Extract<Configuration, { kind: "check" }>;

/** Prints one line for each problem, "<file:line or option>: <what>"; resolves to the exit code, 0 or 1. */
export function checkConfiguration(check: Check, print: (line: string) => void): number {
  const { config, origins } = check;
  const found: Problem[] = [...check.problems];
  const look = (where: string, texts: () => readonly string[]) => {
    for (const text of trying(texts)) found.push({ where, severity: "error", text });
  };
  look(origins("user"), () => {
    if (config.user !== "root") findAccount(config.user);
    return [];
  });
  if (config.log.file !== null) look(origins("log-file"), () => logFile(config.log));
  for (const one of config.instances) checkInstance(one, origins, look);
  for (const { where, severity, text } of found) {
    print(`${where}: ${severity === "warning" ? "warning: " : ""}${text}`);
  }
  const errors = found.filter(({ severity }) => severity === "error").length;
  if (errors === 0) print(`${config.program}: the configuration is valid`);
  return errors === 0 ? 0 : 1;
}

function checkInstance(
  one: InstanceConfig,
  origins: Check["origins"],
  look: (where: string, texts: () => readonly string[]) => void,
): void {
  const { listener, forward, name } = one;
  look(origins("spool-dir", name), () => spool(one.spool.directory));
  if (listener !== null && listener.secrets !== null) {
    const path = listener.secrets;
    look(origins("server-auth", name), () => secrets(path));
  }
  if (listener !== null && listener.tls !== null) {
    const { tls } = listener;
    look(origins("server-tls-certificate", name), () => {
      loadServerKeys(tls);
      return tls.certificate.flatMap(privacy);
    });
  }
  if (forward === null) return;
  const { client } = forward;
  if (client.secrets !== null && !client.secrets.startsWith("plain:")) {
    const path = client.secrets;
    look(origins("client-auth", name), () => secrets(path));
  }
  if (client.tls !== null) {
    const { tls } = client;
    const option = tls.certificate.length > 0 ? "client-tls-certificate" : "client-tls-verify";
    look(origins(option, name), () => {
      openClientTls(tls);
      return tls.certificate.flatMap(privacy);
    });
  }
}

function trying(texts: () => readonly string[]): readonly string[] {
  try {
    return texts();
  } catch (error) {
    return [describeError(error)];
  }
}

function spool(directory: string): readonly string[] {
  if (statSync(directory, { throwIfNoEntry: false }) === undefined) {
    return [`invalid spool directory: ${directory}: no such file or directory`];
  }
  try {
    rmdirSync(mkdtempSync(join(directory, ".relayd-")));
    return [];
  } catch (error) {
    return [`directory not writable: "${directory}": ${describeError(error)}`];
  }
}

function secrets(path: string): readonly string[] {
  return checkSecretsFile(path, (file) => readFileSync(file, "utf8")).map(({ text }) => text);
}

function privacy(path: string): readonly string[] {
  const text = worldReadable(path);
  return text === null ? [] : [text];
}

function logFile({ file }: LogConfig): readonly string[] {
  const directory = dirname(file ?? "/");
  return statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true
    ? []
    : [`cannot open log file: ${file ?? ""}: no such directory: "${directory}"`];
}
