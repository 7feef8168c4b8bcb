/** Values that mean nothing: relayd's own complaints, after those that E-MailRelay has too. */
import { isIP } from "node:net";
import { parseEndpoint, parsePort } from "../core/endpoint.ts";
import { readDuration, readRate, readSchedule } from "./durations.ts";
import { readRoom, readUnsigned } from "./numbers.ts";
import type { OptionSet } from "./option-set.ts";
import type { OptionSpec } from "./option-spec.ts";
import { OPTION_SECTIONS, type OptionName } from "./options.ts";
import { forwardAddress, has, rule, type UsageRule } from "./usage-rules.ts";
import { readTlsVersions } from "./words.ts";

const ADDRESS_FORMS =
  "<host>:<port>, [<ipv6>]:<port>, <host>:<port>@<socks-host>:<port> or /<path>";
const PORT_FORMS = "a port number up to 65535, or a service name";

export const VALUE_RULES: readonly UsageRule[] = [
  rule("as-proxy", "--as-proxy cannot be used with --as-client", has("as-client")),
  ...(["as-client", "as-proxy", "forward-to", "dont-serve", "no-smtp"] as const).map((name) =>
    rule(name, `--${name} cannot be used with --trial`, has("trial")),
  ),
  ...(["as-client", "as-proxy", "forward-to"] as const).map((name) => ({
    about: name,
    complaint: (options: OptionSet) => addressComplaint(options, name),
  })),
  ...(["port", "pop-port"] as const).map((name) =>
    // What is neither number nor name means the default, as in E-MailRelay.
    value(name, PORT_FORMS, (text) => parsePort(text) !== null || readUnsigned(text) === null),
  ),
  value("admin", PORT_FORMS, (text) => parsePort(text) !== null),
  value("client-interface", "an IPv4 or IPv6 address", (text) => isIP(text) !== 0),
  value("retry", "gaps such as 1m,5m,15m,30m,1h,4h", (text) => {
    return text === "" || readSchedule(text.split(",")) !== null;
  }),
  value("expire", "a time such as 5d", (text) => readDuration(text) !== null),
  value("forward-rate", "a number and a time such as 100/1h", (text) => readRate(text) !== null),
  value("bounce", "yes or no", (text) => /^(?:yes|no)?$/.test(text)),
  value("delay-warning", "a time such as 4h", (text) => readDuration(text) !== null),
  rule("expire", "the --expire option requires --retry", (options) => !options.has("retry")),
  value("spool-min-free", "megabytes or a percentage such as 5%", (text) => {
    return readRoom(text) !== null;
  }),
  value("bare-newlines", "fix, reject or accept", (text) => /^(?:fix|reject|accept)$/.test(text)),
  ...OPTION_SECTIONS.flatMap((section) => section.options).flatMap(rangeRule),
  {
    about: "tls-config",
    complaint: (options) => {
      const { min, max } = readTlsVersions(options.list("tls-config")).settings;
      return min !== null && max !== null && min > max
        ? "the lowest TLS version in --tls-config is above the highest one"
        : null;
    },
  },
];

function addressComplaint(options: OptionSet, name: OptionName): string | null {
  const address = forwardAddress(options);
  if (address?.name !== name) return null;
  // Several are tried in their order; an empty one is a slip.
  const wrong = address.text.split(",").find((one) => parseEndpoint(one) === null);
  return wrong === undefined ? null : wrongValue(name, wrong, ADDRESS_FORMS);
}

function rangeRule(spec: OptionSpec): UsageRule[] {
  const { range } = spec;
  if (range === undefined) return [];
  const wanted = `a number from ${range.min} to ${range.max}`;
  const accepts = (text: string): boolean => {
    const number = readUnsigned(text);
    const absent = text === "" && spec.value === "optional";
    return absent || (number !== null && number >= range.min && number <= range.max);
  };
  // The name is one of the table, from which it has just been taken.
  return [value(spec.name as OptionName, wanted, accepts)];
}

function value(about: OptionName, wanted: string, accepts: (text: string) => boolean): UsageRule {
  return {
    about,
    complaint: (options) => {
      const text = options.text(about);
      return text === null || accepts(text) ? null : wrongValue(about, text, wanted);
    },
  };
}

function wrongValue(name: OptionName, text: string, wanted: string): string {
  return `invalid --${name} value: "${text}": use ${wanted}`;
}
