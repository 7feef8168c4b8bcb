/**
 * A Postfix of the tests' own: configuration, queue and data in a temporary directory, several
 * listeners with different manners on loopback, and everything it takes handed on to `next`.
 */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./catcher.ts";
import { runPeer } from "./peer.ts";
import { until } from "./relayd.ts";

export interface PostfixOptions<Name extends string> {
  /** Port on loopback that takes what Postfix has taken. */
  readonly next: number;
  /** Each with main.cf settings, "name=value", that are for this listener alone. */
  readonly listeners: Readonly<Record<Name, readonly string[]>>;
}

export interface Postfix<Name extends string> {
  /** "127.0.0.1:port" of a listener. */
  address(name: Name): string;
  log(): string;
  /** Resolves when the log has this text; rejects after 20 seconds. */
  logged(text: RegExp): Promise<void>;
  stop(): Promise<void>;
}

/** Needs root. Resolves when every listener is open. */
export async function startPostfix<Name extends string>(
  options: PostfixOptions<Name>,
): Promise<Postfix<Name>> {
  // Short: the paths of Postfix's sockets must fit into 107 characters.
  const directory = mkdtempSync(join(tmpdir(), "postfix-"));
  const names = Object.keys(options.listeners) as Name[];
  const ports = new Map<Name, number>();
  for (const name of names) ports.set(name, await freePort());
  const config = join(directory, "etc");
  const log = join(directory, "log/mail.log");
  chmodSync(directory, 0o755);
  for (const name of ["etc", "queue", "data", "log"]) mkdirSync(join(directory, name));
  writeFileSync(join(config, "main.cf"), mainCf(directory, options.next));
  const services = names.map((name) =>
    smtpd(ports.get(name) ?? 0, options.listeners[name] as readonly string[]),
  );
  writeFileSync(join(config, "master.cf"), [...services, SERVICES].join("\n"));
  writeFileSync(log, "");
  const owned = await runPeer("chown", ["postfix", join(directory, "data")]);
  assert.equal(owned.code, 0, owned.stderr);
  const stop = async (): Promise<void> => {
    await runPeer("postfix", ["-c", config, "stop"]);
    rmSync(directory, { recursive: true, force: true });
  };
  const started = await runPeer("postfix", ["-c", config, "start"]);
  const read = () => readFileSync(log, "latin1");
  if (started.code !== 0) {
    const why = `${started.stderr}${read()}`;
    await stop();
    assert.fail(`postfix does not start: ${why}`);
  }
  return {
    address: (name) => `127.0.0.1:${ports.get(name) ?? 0}`,
    log: read,
    logged: async (text) =>
      await until(
        () => text.test(read()),
        () => `no ${text} in Postfix's log:\n${read()}`,
      ),
    stop,
  };
}

/** `next` is the only way out: no lookups, no local delivery, nothing kept for later tries. */
function mainCf(directory: string, next: number): string {
  return [
    "compatibility_level = 3.6",
    `queue_directory = ${directory}/queue`,
    `data_directory = ${directory}/data`,
    `maillog_file = ${directory}/log/mail.log`,
    `maillog_file_prefixes = ${directory}`,
    "myhostname = postfix.test",
    "mydestination =",
    "alias_maps =",
    "inet_interfaces = 127.0.0.1",
    "inet_protocols = ipv4",
    "mynetworks = 127.0.0.0/8",
    "disable_dns_lookups = yes",
    "smtpd_peername_lookup = no",
    "smtp_host_lookup = native",
    `default_transport = smtp:[127.0.0.1]:${next}`,
    "smtputf8_enable = yes",
    "local_header_rewrite_clients =",
    "smtpd_relay_restrictions = permit_mynetworks, reject",
    // What comes must be fit to pass on as it is.
    "smtpd_data_restrictions = reject_unauth_pipelining",
    "smtpd_forbid_bare_newline = yes",
    "smtpd_forbid_bare_newline_exclusions =",
    "smtpd_forbid_unauth_pipelining = yes",
    "smtpd_tls_received_header = yes",
    "smtpd_client_connection_rate_limit = 0",
    // It folds long lines otherwise.
    "smtp_line_length_limit = 0",
    "message_size_limit = 100000000",
    "mailbox_size_limit = 0",
    "bounce_queue_lifetime = 0",
    "notify_classes =",
    "",
  ].join("\n");
}

function smtpd(port: number, settings: readonly string[]): string {
  const words = settings.map((setting) => ` -o { ${setting} }`).join("");
  return `127.0.0.1:${port} inet n - n - - smtpd${words}`;
}

/** The services of master.cf that deliver mail, as Debian has them, without chroot. */
export const SERVICES = `
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
`;
