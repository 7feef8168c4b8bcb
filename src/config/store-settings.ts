/** Settings of what looks after stored mail: the spool, its filters, POP and administration. Pure. */
import type {
  AdminConfig,
  ConnectionLimits,
  FilterConfig,
  PopConfig,
  SpoolConfig,
} from "../core/config.ts";
import { parsePort } from "../core/endpoint.ts";
import { interfacesFor } from "./interfaces.ts";
import { readMilliseconds, readRoom, readUnsigned } from "./numbers.ts";
import type { OptionSet } from "./option-set.ts";
import { absolutePath, type Places, secretsPlace } from "./paths.ts";
import { type ProgramSpec, readFilter } from "./programs.ts";
import { serverTls } from "./tls-settings.ts";
import type { Surroundings } from "./validate.ts";

const MEGABYTE = 1024 * 1024;
const SPOOL_DIRECTORIES = ["/var/spool/relayd", "/var/spool/emailrelay"] as const;

export function spoolSettings(options: OptionSet, surroundings: Surroundings): SpoolConfig {
  const given = options.text("spool-dir") ?? (options.has("trial") ? "spool" : null);
  const [ours, theirs] = SPOOL_DIRECTORIES;
  const usual = !surroundings.exists(ours) && surroundings.exists(theirs) ? theirs : ours;
  return {
    directory: given === null ? usual : absolutePath(given, surroundings),
    sync: !options.has("no-sync"),
    shared: options.has("shared-spool"),
    commitJournal: !options.has("no-commit-journal"),
    minFree: readRoom(options.text("spool-min-free")) ?? { bytes: 10 * MEGABYTE, percent: 10 },
  };
}

export function filterSettings(options: OptionSet, surroundings: Surroundings): FilterConfig {
  const specs = (name: "filter" | "client-filter") =>
    options.list(name).map((text) => absoluteSpec(text, readFilter, surroundings));
  const deliveries = options.text("delivery-dir");
  return {
    server: specs("filter"),
    client: specs("client-filter"),
    timeoutMs: readMilliseconds(options.text("filter-timeout"), 60),
    deliveryDirectory:
      deliveries === null
        ? spoolSettings(options, surroundings).directory
        : absolutePath(deliveries, surroundings),
  };
}

/** Programs by absolute path, since a daemon changes to "/"; what is built in as it is. */
export function absoluteSpec(
  text: string,
  read: (text: string) => ProgramSpec,
  places: Places,
): string {
  const spec = read(text);
  return spec.kind === "program" ? absolutePath(spec.path, places) : text;
}

export function popSettings(options: OptionSet, places: Places): PopConfig | null {
  if (!options.has("pop") || servesNobody(options)) return null;
  const secrets = options.text("pop-auth");
  return {
    port: parsePort(options.text("pop-port") ?? "") ?? 110,
    interfaces: interfacesFor("pop", options.list("interface")),
    remoteClients: options.has("remote-clients"),
    byName: options.has("pop-by-name"),
    noDelete: options.has("pop-no-delete"),
    connections: connectionLimits(options),
    maxAuthFailures: readUnsigned(options.text("max-auth-failures")) ?? 5,
    idleTimeoutMs: readMilliseconds(options.text("idle-timeout"), 60),
    secrets: secretsPlace(secrets, places),
    authConfig: options.text("server-auth-config") ?? "",
    tls: serverTls(options, places),
  };
}

export function connectionLimits(options: OptionSet): ConnectionLimits {
  return {
    inAll: readUnsigned(options.text("max-connections")) ?? 2000,
    perClient: readUnsigned(options.text("max-connections-per-client")) ?? 50,
  };
}

export function adminSettings(options: OptionSet): AdminConfig | null {
  const port = parsePort(options.text("admin") ?? "");
  if (port === null || servesNobody(options)) return null;
  return {
    port,
    interfaces: interfacesFor("admin", options.list("interface")),
    remoteClients: options.has("remote-clients"),
    terminate: options.has("admin-terminate"),
  };
}

function servesNobody(options: OptionSet): boolean {
  return options.has("dont-serve") || options.has("as-client");
}
