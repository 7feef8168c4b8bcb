/** Makes the settings of one instance from its options, defaults included. Pure; wrong values count as not given. */
import type {
  ClientConfig,
  ForwardConfig,
  InstanceConfig,
  ListenerConfig,
  RetryConfig,
} from "../core/config.ts";
import { parsePort } from "../core/endpoint.ts";
import { readDuration, readRate, readSchedule } from "./durations.ts";
import { interfacesFor } from "./interfaces.ts";
import { readMilliseconds, readSeconds, readUnsigned } from "./numbers.ts";
import type { OptionSet } from "./option-set.ts";
import { USUAL_SCHEDULE } from "./options-queue.ts";
import { absolutePath, secretsPlace } from "./paths.ts";
import { readVerifier } from "./programs.ts";
import { reportSettings } from "./report-settings.ts";
import {
  absoluteSpec,
  adminSettings,
  connectionLimits,
  filterSettings,
  popSettings,
  spoolSettings,
} from "./store-settings.ts";
import { clientTls, serverTls } from "./tls-settings.ts";
import { forwardAddresses } from "./usage-rules.ts";
import type { Surroundings } from "./validate.ts";
import { readAnonymous, readClientSmtp, readServerSmtp } from "./words.ts";

const TRIAL_PORT = 10025;

export function instanceSettings(options: OptionSet, surroundings: Surroundings): InstanceConfig {
  return {
    name: options.prefix,
    domain: options.text("domain"),
    spool: spoolSettings(options, surroundings),
    listener: listenerSettings(options, surroundings),
    forward: forwardSettings(options, surroundings),
    reports: reportSettings(options),
    filters: filterSettings(options, surroundings),
    pop: popSettings(options, surroundings),
    admin: adminSettings(options),
  };
}

function listenerSettings(options: OptionSet, surroundings: Surroundings): ListenerConfig | null {
  if (options.has("dont-serve") || options.has("no-smtp") || options.has("as-client")) return null;
  const { client: _, ...anonymous } = readAnonymous(options.text("anonymous")).settings;
  const secrets = options.text("server-auth");
  const verifier = options.text("address-verifier");
  const trial = options.has("trial");
  const interfaces = interfacesFor("smtp", options.list("interface"));
  const loopback = [{ kind: "address", host: "127.0.0.1" }] as const;
  return {
    port: listenerPort(options),
    interfaces: trial && interfaces.length === 0 ? loopback : interfaces,
    remoteClients: options.has("remote-clients"),
    maxSizeBytes: readUnsigned(options.text("size")) ?? 0,
    idleTimeoutMs: readMilliseconds(options.text("idle-timeout"), 60),
    sessionTimeoutMs: readMilliseconds(options.text("session-timeout"), 86_400),
    messageTimeoutMs: readMilliseconds(options.text("message-timeout"), 3600),
    maxRecipients: readUnsigned(options.text("max-recipients")) ?? 1000,
    maxHops: readUnsigned(options.text("max-hops")) ?? 100,
    connections: connectionLimits(options),
    maxAuthFailures: readUnsigned(options.text("max-auth-failures")) ?? 5,
    maxErrors: readUnsigned(options.text("max-errors")) ?? 8,
    maxRefusals: readUnsigned(options.text("max-refusals")) ?? 100,
    maxCommandBytes: readUnsigned(options.text("max-command-length")) ?? 4096,
    bareNewlines: bareNewlines(options.text("bare-newlines")),
    dsn: reportSettings(options) !== null,
    anonymous,
    smtp: readServerSmtp(options.list("server-smtp-config")).settings,
    verifier: verifier === null ? null : absoluteSpec(verifier, readVerifier, surroundings),
    dnsbl: options.has("dnsbl") ? options.list("dnsbl").join(",") : null,
    secrets: secretsPlace(secrets, surroundings),
    authConfig: options.text("server-auth-config") ?? "",
    tls: serverTls(options, surroundings),
  };
}

function listenerPort(options: OptionSet): number {
  const trial = options.has("trial");
  const given = parsePort((trial ? options.text("trial") : null) || (options.text("port") ?? ""));
  return given ?? (trial ? TRIAL_PORT : 25);
}

function bareNewlines(text: string | null): ListenerConfig["bareNewlines"] {
  return text === "reject" || text === "accept" ? text : "fix";
}

function forwardSettings(options: OptionSet, surroundings: Surroundings): ForwardConfig | null {
  const trial = options.has("trial");
  // The trial smarthost chooses its port when it starts.
  const [to, ...fallbacks] = trial ? ["127.0.0.1:0"] : forwardAddresses(options);
  if (to === undefined) return null;
  const poll = readUnsigned(options.text("poll"));
  const asProxy = options.has("as-proxy") && !options.has("as-client");
  const disconnect = asProxy || trial || options.has("forward-on-disconnect");
  return {
    to,
    atStart: options.has("forward") || options.has("as-client"),
    onDisconnect: disconnect || poll === 0,
    immediate: options.has("immediate"),
    pollSeconds: poll === null || poll === 0 ? null : readSeconds(options.text("poll"), 0),
    recipients: recipientsRule(options),
    fallbacks,
    retry: retrySettings(options),
    parallel: readUnsigned(options.text("forward-parallel")) ?? usualParallel(options),
    rate: readRate(options.text("forward-rate") ?? ""),
    client: clientSettings(options, surroundings),
  };
}

/** What a client filter that ends a run leaves untouched must not be on its way already (R9). */
function usualParallel(options: OptionSet): number {
  return options.has("client-filter") && !options.has("retry") ? 1 : 4;
}

/** Each recipient has a fate of its own where there are later tries, unless that is turned off. */
function recipientsRule(options: OptionSet): "all" | "some" {
  const each = options.has("retry") && !options.has("forward-to-all");
  return options.has("forward-to-some") || each ? "some" : "all";
}

function retrySettings(options: OptionSet): RetryConfig | null {
  if (!options.has("retry")) return null;
  const delaysMs = readSchedule((options.text("retry") || USUAL_SCHEDULE).split(","));
  const expireMs = readDuration(options.text("expire") ?? "5d");
  return delaysMs === null || expireMs === null ? null : { delaysMs, expireMs };
}

function clientSettings(options: OptionSet, surroundings: Surroundings): ClientConfig {
  const secrets = options.text("client-auth");
  const isFile = secrets !== null && !secrets.startsWith("plain:");
  return {
    interface: options.text("client-interface"),
    connectionTimeoutMs: readMilliseconds(options.text("connection-timeout"), 40),
    responseTimeoutMs: readMilliseconds(options.text("response-timeout"), 60),
    promptTimeoutMs: readMilliseconds(options.text("prompt-timeout"), 20),
    messageTimeoutMs: readMilliseconds(options.text("forward-timeout"), 3600),
    smtp: readClientSmtp(options.list("client-smtp-config")).settings,
    anonymous: readAnonymous(options.text("anonymous")).settings.client,
    secrets: isFile ? absolutePath(secrets, surroundings) : secrets,
    authConfig: options.text("client-auth-config") ?? "",
    tls: clientTls(options, surroundings),
  };
}
