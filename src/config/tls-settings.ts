/** TLS settings of both directions, from options. Pure. */
import type { ClientTls, ServerTls } from "../core/config.ts";
import type { OptionSet } from "./option-set.ts";
import { absolutePath, type Places } from "./paths.ts";
import { readTlsVersions } from "./words.ts";

/** null: no TLS at all. */
export function serverTls(options: OptionSet, places: Places): ServerTls | null {
  const implicit = options.has("server-tls-connection");
  if (!implicit && !options.has("server-tls")) return null;
  return {
    mode: implicit ? "implicit" : "starttls",
    required: options.has("server-tls-required"),
    certificate: certificates(options, "server-tls-certificate", places),
    verify: authorities(options.text("server-tls-verify"), places),
    versions: readTlsVersions(options.list("tls-config")).settings,
  };
}

/** null: no TLS at all. */
export function clientTls(options: OptionSet, places: Places): ClientTls | null {
  const implicit = options.has("client-tls-connection");
  if (!implicit && !options.has("client-tls")) return null;
  return {
    mode: implicit ? "implicit" : "starttls",
    required: options.has("client-tls-required"),
    certificate: certificates(options, "client-tls-certificate", places),
    verify: authorities(options.text("client-tls-verify"), places),
    verifyName: options.text("client-tls-verify-name"),
    serverName: options.text("client-tls-server-name"),
    versions: readTlsVersions(options.list("tls-config")).settings,
  };
}

function certificates(
  options: OptionSet,
  name: "server-tls-certificate" | "client-tls-certificate",
  places: Places,
): string[] {
  return options.list(name).map((path) => absolutePath(path, places));
}

/** "<default>" and "<none>" are words, not files. */
function authorities(text: string | null, places: Places): string | null {
  return text === null || text.startsWith("<") ? text : absolutePath(text, places);
}
