/** What must not be asked for together: E-MailRelay's usage errors, in its order and with its texts. Source: R3. */
import { splitQualifier } from "./interfaces.ts";
import type { OptionSet } from "./option-set.ts";
import type { OptionName } from "./options.ts";
import { readFilter, readVerifier } from "./programs.ts";
import { readFacility } from "./words.ts";

export interface UsageRule {
  /** The option to blame. */
  readonly about: OptionName;
  /** What is wrong with these options, or null. */
  readonly complaint: (options: OptionSet) => string | null;
}

type Condition = (options: OptionSet) => boolean;

/** --forward-to, or what implies it. */
export function hasForwardTo(options: OptionSet): boolean {
  return has("forward-to", "as-client", "as-proxy", "trial")(options);
}

/** --log, or what implies it. */
export function hasLog(options: OptionSet): boolean {
  return has("log", "as-client", "as-server", "as-proxy", "trial")(options);
}

export const USAGE_RULES: readonly UsageRule[] = [
  {
    about: "syslog",
    complaint: (options) =>
      readFacility(options.text("syslog") ?? "") === null
        ? "invalid --syslog facility: use 'mail', 'user', 'daemon', or 'local0' to 'local7'"
        : null,
  },
  // 0 is the old spelling of --forward-on-disconnect (R18).
  rule("poll", "invalid --poll period: try --forward-on-disconnect", (options) => {
    return !/^\d*$/.test(options.text("poll") ?? "");
  }),
  ...(["pop-port", "pop-auth", "pop-by-name", "pop-no-delete"] as const).map((name) =>
    rule(name, "pop options require --pop", without("pop")),
  ),
  rule("pop", "the --pop option requires --pop-auth", without("pop-auth")),
  rule("admin-terminate", "the --admin-terminate option requires --admin", without("admin")),
  rule(
    "forward-to",
    "--forward-to cannot be used with --as-client or --as-proxy",
    has("as-client", "as-proxy"),
  ),
  ...(["forward", "forward-on-disconnect", "client-filter"] as const).map((name) =>
    rule(name, `--${name} requires --forward-to`, (options) => !hasForwardTo(options)),
  ),
  ...(["filter", "port", "server-auth", "pop", "admin"] as const).map((name) =>
    rule(
      name,
      `the --${name} option cannot be used with --as-client or --dont-serve`,
      has("as-client", "dont-serve"),
    ),
  ),
  ...(["filter", "port", "server-auth"] as const).map((name) =>
    rule(name, `the --${name} option cannot be used with --no-smtp`, has("no-smtp")),
  ),
  ...(["server", "client"] as const).map((side) =>
    rule(
      `${side}-auth-config`,
      `the --${side}-auth-config option requires --${side}-auth`,
      without(`${side}-auth`),
    ),
  ),
  rule(
    "verbose",
    "the --verbose option must be used with --log, --help, --as-client, --as-server or --as-proxy",
    (options) => !hasLog(options),
  ),
  rule(
    "debug",
    "the --debug option requires --log, --as-client, --as-server or --as-proxy",
    (options) => !hasLog(options),
  ),
  ...tlsRules(),
  {
    about: "interface",
    complaint: (options) =>
      options.list("interface").some((item) => splitQualifier(item).qualifier === "client")
        ? "using --interface with client= is no longer supported: use --client-interface instead"
        : null,
  },
  rule("dnsbl", "--dnsbl requires --remote-clients or -r", without("remote-clients")),
  rule(
    "client-interface",
    "the --client-interface option cannot be used with a unix-domain forwarding address",
    (options) => forwardAddress(options)?.text.startsWith("/") === true,
  ),
  rule(
    "domain",
    "the --domain value must not be empty",
    (options) => options.text("domain")?.trim() === "",
  ),
  {
    about: "filter",
    complaint: (options) => specComplaint(options.list("filter"), readFilter, "filter"),
  },
  {
    about: "client-filter",
    complaint: (options) =>
      specComplaint(options.list("client-filter"), readFilter, "client filter"),
  },
  {
    about: "address-verifier",
    complaint: (options) => {
      const text = options.text("address-verifier");
      return text === null ? null : specComplaint([text], readVerifier, "verifier");
    },
  },
];

/** Where to forward to, and the option that says so; null when none does. */
export function forwardAddress(options: OptionSet): { name: OptionName; text: string } | null {
  for (const name of ["as-client", "as-proxy", "forward-to"] as const) {
    const text = options.text(name);
    if (text !== null) return { name, text };
  }
  return null;
}

/** The smarthosts in the order in which they are tried: "a:587,b:587". */
export function forwardAddresses(options: OptionSet): string[] {
  return (forwardAddress(options)?.text ?? "").split(",").filter((one) => one !== "");
}

function tlsRules(): UsageRule[] {
  const sides = ["client", "server"] as const;
  return [
    ...sides.map((side) =>
      rule(
        `${side}-tls-connection`,
        `the --${side}-tls and --${side}-tls-connection options cannot be used together`,
        has(`${side}-tls`),
      ),
    ),
    ...(["server-tls", "server-tls-connection"] as const).map((name) =>
      rule(
        name,
        `the --${name} option requires --server-tls-certificate`,
        without("server-tls-certificate"),
      ),
    ),
    ...(["server-tls-certificate", "server-tls-verify"] as const).map((name) =>
      rule(
        name,
        "the --server-tls options require either --server-tls or --server-tls-connection",
        without("server-tls", "server-tls-connection"),
      ),
    ),
    ...(["client-tls-certificate", "client-tls-verify", "client-tls-required"] as const).map(
      (name) =>
        rule(
          name,
          "the --client-tls- options require --client-tls or --client-tls-connection",
          without("client-tls", "client-tls-connection"),
        ),
    ),
    ...(["server", "client"] as const).map((side) =>
      rule(
        `${side}-tls-certificate`,
        `the --${side}-tls-certificate option cannot be used more than twice`,
        (options) => options.list(`${side}-tls-certificate`).length > 2,
      ),
    ),
    rule(
      "client-tls-verify-name",
      "the --client-tls-verify-name options requires --client-tls-verify",
      without("client-tls-verify"),
    ),
    rule(
      "server-tls-required",
      "--server-tls-required requires --server-tls or --server-tls-connection",
      without("server-tls", "server-tls-connection"),
    ),
  ];
}

/** A rule about an option that was given. */
export function rule(about: OptionName, text: string, broken: Condition): UsageRule {
  return { about, complaint: (options) => (options.has(about) && broken(options) ? text : null) };
}

/** True if any of these was given. */
export function has(...names: readonly OptionName[]): Condition {
  return (options) => names.some((name) => options.has(name));
}

function without(...names: readonly OptionName[]): Condition {
  return (options) => !names.some((name) => options.has(name));
}

function specComplaint(
  items: readonly string[],
  read: typeof readFilter,
  what: string,
): string | null {
  for (const item of items) {
    const spec = read(item);
    if (spec.kind === "invalid") return `invalid ${what} specification: ${spec.why}`;
  }
  return null;
}
