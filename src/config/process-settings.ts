/** Makes the settings of the process: from the options of its first instance, with the others beside it. Pure. */
import type { DaemonConfig, LogConfig } from "../core/config.ts";
import { instanceSettings } from "./instance-settings.ts";
import { readSeconds } from "./numbers.ts";
import type { OptionSet } from "./option-set.ts";
import { absolutePath } from "./paths.ts";
import { hasLog } from "./usage-rules.ts";
import { closesStderr, type Surroundings, usesSyslog } from "./validate.ts";
import { readFacility, readLogFormat } from "./words.ts";

export function processSettings(
  sets: readonly [OptionSet, ...OptionSet[]],
  program: string,
  surroundings: Surroundings,
): DaemonConfig {
  const [first] = sets;
  const pidFile = first.first("pid-file");
  return {
    program,
    detach: detaches(first),
    closeStderr: closesStderr(first) !== null,
    pidFile: pidFile === null ? null : absolutePath(pidFile, surroundings),
    user: first.text("user") ?? "daemon",
    log: logSettings(first, surroundings),
    graceSeconds: readSeconds(first.text("grace-time"), 30),
    client: first.has("as-client"),
    trial: first.has("trial"),
    instances: sets.map((one) => instanceSettings(one, surroundings)),
  };
}

function detaches(options: OptionSet): boolean {
  return !(["no-daemon", "as-client", "trial"] as const).some((name) => options.has(name));
}

function logSettings(options: OptionSet, surroundings: Surroundings): LogConfig {
  const file = options.text("log-file");
  const words = readLogFormat(options.list("log-format")).settings;
  const fields = new Set(words.fields);
  if (options.has("log-time")) fields.add("time");
  if (options.has("log-address")) fields.add("address");
  const syslog = usesSyslog(options)
    ? (readFacility(options.text("syslog") ?? "") ?? "mail")
    : null;
  // Standard error is about to be closed, and syslog has everything.
  const brief =
    file === null && syslog !== null && detaches(options) && closesStderr(options) !== null;
  return {
    enabled: hasLog(options),
    verbosity: Math.min(options.count("verbose"), 2),
    file: file === null ? null : absolutePath(file, surroundings),
    stderr: file === null,
    stderrLevel: brief ? "warnings" : "all",
    syslog,
    format: words.json ? "json" : "text",
    fields: [...fields],
  };
}
