/** `--check-config`: reads everything that a start would read, and says everything that is wrong with it. */
import { mkdtempSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { openClientAccounts } from "./auth/client-accounts.ts";
import { pamFault } from "./auth/pam.ts";
import { checkSecretsFile, worldReadable } from "./auth/secrets-file.ts";
import type { Configuration, Problem } from "./config/configuration.ts";
import { isPam } from "./config/paths.ts";
import type { ForwardConfig, InstanceConfig, LogConfig } from "./core/config.ts";
import { describeError } from "./core/errors.ts";
import { silentJournal } from "./core/events.ts";
import { filterFaults } from "./filters/open.ts";
import { loopFaults, wouldListen } from "./instance/loops.ts";
import { systemClock } from "./io/clock.ts";
import { checkPidFile } from "./io/pid-file.ts";
import { loadServerKeys } from "./io/server-tls.ts";
import { findSystemAccount } from "./io/system-account.ts";
import { logPathAt } from "./observe/log-file.ts";
import { dnsblFaults } from "./policy/dnsbl-spec.ts";
import { openClientTls } from "./smtp/client-tls.ts";
import { verifierFaults } from "./verifiers/spec.ts";

type Look = (where: string, texts: () => readonly string[]) => void;
type Check = Extract<Configuration, { kind: "check" }>;

/** Prints one line for each problem, "<file:line or option>: <what>"; resolves to the exit code, 0 or 1. */
export function checkConfiguration(check: Check, print: (line: string) => void): number {
  const { config, origins } = check;
  const found: Problem[] = [...check.problems];
  const look: Look = (where, texts) => {
    for (const text of trying(texts)) found.push({ where, severity: "error", text });
  };
  look(origins("user"), () => {
    if (config.user !== "root") findSystemAccount(config.user);
    return [];
  });
  const { log, pidFile } = config;
  if (log.file !== null) look(origins("log-file"), () => logFile(log));
  if (pidFile !== null) {
    look(origins("pid-file"), () => {
      checkPidFile(pidFile);
      return [];
    });
  }
  for (const one of config.instances) checkInstance(one, origins, look);
  for (const { where, severity, text } of found) {
    print(`${where}: ${severity === "warning" ? "warning: " : ""}${text}`);
  }
  const errors = found.filter(({ severity }) => severity === "error").length;
  if (errors === 0) print(`${config.program}: the configuration is valid`);
  return errors === 0 ? 0 : 1;
}

function checkInstance(one: InstanceConfig, origins: Check["origins"], look: Look): void {
  const { listener, forward, filters, pop, name } = one;
  look(origins("spool-dir", name), () => spool(one.spool.directory));
  look(origins("filter", name), () =>
    filters.server.flatMap((text) => filterFaults(text, "filter")),
  );
  look(origins("client-filter", name), () =>
    filters.client.flatMap((text) => filterFaults(text, "client-filter")),
  );
  const { verifier = null, dnsbl = null } = listener ?? {};
  look(origins("address-verifier", name), () =>
    verifier === null ? [] : verifierFaults(verifier),
  );
  look(origins("dnsbl", name), () => (dnsbl === null ? [] : dnsblFaults(dnsbl)));
  if (pop !== null && pop.secrets !== null) {
    const path = pop.secrets;
    look(origins("pop-auth", name), () => secrets(path));
  }
  if (listener !== null && listener.secrets !== null) {
    const path = listener.secrets;
    look(origins("server-auth", name), () => secrets(path));
  }
  const tls = listener?.tls ?? pop?.tls ?? null;
  if (tls !== null) {
    look(origins("server-tls-certificate", name), () => {
      loadServerKeys(tls);
      return tls.certificate.flatMap(privacy);
    });
  }
  look(origins("forward-to", name), () =>
    listener === null ? [] : loopFaults(forward, wouldListen(listener)),
  );
  if (forward !== null) checkClient(forward, name, origins, look);
}

function checkClient(
  { client }: ForwardConfig,
  name: string,
  origins: Check["origins"],
  look: Look,
): void {
  if (client.secrets !== null) {
    const path = client.secrets;
    look(origins("client-auth", name), () =>
      path.startsWith("plain:") ? inlineSecret(client) : secrets(path),
    );
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
  if (isPam(path)) {
    const text = pamFault(path);
    return text === null ? [] : [text];
  }
  return checkSecretsFile(path, (file) => readFileSync(file, "utf8")).map(({ text }) => text);
}

function inlineSecret({ secrets, authConfig }: ForwardConfig["client"]): readonly string[] {
  const read = (path: string) => readFileSync(path, "utf8");
  openClientAccounts({ secrets, authConfig, journal: silentJournal, clock: systemClock, read });
  return [];
}

function privacy(path: string): readonly string[] {
  const text = worldReadable(path);
  return text === null ? [] : [text];
}

function logFile({ file }: LogConfig): readonly string[] {
  const path = logPathAt(file ?? "/", systemClock.now());
  const directory = dirname(path);
  return statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true
    ? []
    : [`cannot open log file: ${path}: no such directory: "${directory}"`];
}
