/**
 * What the options mean, once they have been read and checked: frozen, nested by room. `config/`
 * makes it; a room's constructor takes its own part, never the whole.
 */

/** One process. */
export interface DaemonConfig {
  /** The name we were called by, without directory and extension. */
  readonly program: string;
  readonly detach: boolean;
  readonly closeStderr: boolean;
  readonly pidFile: string | null;
  /** Account to run as when started by root; "root" for no switching. */
  readonly user: string;
  readonly log: LogConfig;
  /** Seconds that SIGTERM leaves for what is in hand. */
  readonly graceSeconds: number;
  /** True for `--as-client`: run once, errors decide the exit code. */
  readonly client: boolean;
  /** True for `--trial`. */
  readonly trial: boolean;
  readonly instances: readonly InstanceConfig[];
}

export interface LogConfig {
  readonly enabled: boolean;
  /** 0, 1 (protocol traffic and details), 2. */
  readonly verbosity: number;
  /** null: standard error. May contain %d and %h. */
  readonly file: string | null;
  readonly stderr: boolean;
  /** What goes to standard error; "all" when not given. */
  readonly stderrLevel?: "all" | "warnings";
  /** null: no syslog. */
  readonly syslog: SyslogFacility | null;
  readonly format: "text" | "json";
  readonly fields: readonly LogField[];
}

export type SyslogFacility = "mail" | "user" | "daemon" | `local${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}`;
export type LogField = "time" | "unit" | "address" | "port" | "msgid";

/** One configured relay in the process. */
export interface InstanceConfig {
  /** Prefix of its options ("in"); "" for the only or unprefixed one. */
  readonly name: string;
  /** null: found out from the host name at start. */
  readonly domain: string | null;
  readonly spool: SpoolConfig;
  /** null: no SMTP listener. */
  readonly listener: ListenerConfig | null;
  /** null: nothing is ever forwarded. */
  readonly forward: ForwardConfig | null;
  /** null: senders are told nothing. */
  readonly reports: ReportConfig | null;
  readonly filters: FilterConfig;
  /** null: no POP server. */
  readonly pop: PopConfig | null;
  /** null: no administration. */
  readonly admin: AdminConfig | null;
}

/** --bounce. */
export interface ReportConfig {
  /** How old a message is when its sender is told that it waits; 0 for never. */
  readonly delayWarningSeconds: number;
}

/** Filters by their specifications, in the order of a chain; programs with absolute paths. Source: R9. */
export interface FilterConfig {
  /** Asked before a message is stored. */
  readonly server: readonly string[];
  /** Asked before it is sent. */
  readonly client: readonly string[];
  /** For filters and verifiers; 0 for no limit. */
  readonly timeoutMs: number;
  /** Base of the mailboxes of "deliver:". */
  readonly deliveryDirectory: string;
}

export interface SpoolConfig {
  readonly directory: string;
  /** False for --no-sync. */
  readonly sync: boolean;
  /** Another program leases from this spool too (--shared-spool). */
  readonly shared: boolean;
  /** Small messages of a busy spool are committed through a journal; false for --no-commit-journal. */
  readonly commitJournal: boolean;
  /** Room that stays free, the smaller of the two; the percentage is of the whole file system. */
  readonly minFree: { readonly bytes: number; readonly percent: number };
}

/** Where to listen. Source: R2 "Interface syntax". */
export type Interface =
  | { readonly kind: "address"; readonly host: string }
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "fd"; readonly fd: number }
  | { readonly kind: "device"; readonly name: string; readonly family: 4 | 6 | null };

export interface ListenerConfig {
  readonly port: number;
  /** Empty: any IPv4 and any IPv6 address. */
  readonly interfaces: readonly Interface[];
  readonly remoteClients: boolean;
  /** Bytes; 0 for no limit. */
  readonly maxSizeBytes: number;
  readonly idleTimeoutMs: number;
  /** The longest a session, and the longest a message or a command, may take in all; 0 for no limit. */
  readonly sessionTimeoutMs: number;
  readonly messageTimeoutMs: number;
  readonly maxRecipients: number;
  /** Received lines; 0 for no limit. */
  readonly maxHops: number;
  readonly connections: ConnectionLimits;
  /** Failed logins, mistakes, and refused recipients and mailboxes that end a session; 0 for no limit. */
  readonly maxAuthFailures: number;
  readonly maxErrors: number;
  readonly maxRefusals: number;
  /** Longest command line; AUTH may have longer ones. */
  readonly maxCommandBytes: number;
  readonly bareNewlines: "fix" | "reject" | "accept";
  /** DSN is offered (RFC 3461). */
  readonly dsn: boolean;
  readonly anonymous: {
    readonly vrfy: boolean;
    readonly server: boolean;
    readonly content: boolean;
  };
  readonly smtp: ServerSmtpWords;
  /** Specification of the address verifier; null: every address is good. */
  readonly verifier: string | null;
  /** Text of --dnsbl; null: clients are not looked up. */
  readonly dnsbl: string | null;
  /** Path of the secrets file; null when --server-auth is not used. */
  readonly secrets: string | null;
  /** Text of --server-auth-config; "" when not given. */
  readonly authConfig: string;
  /** null: no TLS at all. */
  readonly tls: ServerTls | null;
}

/** Clients at a time, of one server. */
export interface ConnectionLimits {
  readonly inAll: number;
  /** From one address; loopback and unix sockets are not counted. 0 for no limit. */
  readonly perClient: number;
}

export interface PopConfig {
  readonly port: number;
  /** Those for POP; empty: any IPv4 and any IPv6 address. */
  readonly interfaces: readonly Interface[];
  readonly remoteClients: boolean;
  /** Each account has the spool sub-directory of its name. */
  readonly byName: boolean;
  /** What clients delete stays. */
  readonly noDelete: boolean;
  readonly connections: ConnectionLimits;
  /** Failed logins that end a session; 0 for no limit. */
  readonly maxAuthFailures: number;
  /** 0 for no limit. */
  readonly idleTimeoutMs: number;
  /** Path of the secrets file; null: nobody can log in. */
  readonly secrets: string | null;
  /** Text of --server-auth-config; "" when not given. */
  readonly authConfig: string;
  /** null: no TLS at all. */
  readonly tls: ServerTls | null;
}

/** --server-smtp-config. */
export interface ServerSmtpWords {
  readonly pipelining: boolean;
  readonly chunking: boolean;
  readonly smtputf8: boolean;
  readonly smtputf8strict: boolean;
  readonly strictparsing: boolean;
  readonly alabels: boolean;
  readonly linger: boolean;
}

export interface ServerTls {
  readonly mode: "starttls" | "implicit";
  readonly required: boolean;
  /** One or two PEM files: key and chain in one, or key file then certificate file. */
  readonly certificate: readonly string[];
  /** CA file, directory or "<default>"; null: clients are asked for a certificate but it is not checked. "<none>": not asked. */
  readonly verify: string | null;
  readonly versions: TlsVersions;
}

export interface TlsVersions {
  readonly min: TlsVersion | null;
  readonly max: TlsVersion | null;
}
export type TlsVersion = "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";

/** --admin. */
export interface AdminConfig {
  readonly port: number;
  /** Those that are for it; empty: any IPv4 and any IPv6 address. */
  readonly interfaces: readonly Interface[];
  readonly remoteClients: boolean;
  /** True for --admin-terminate. */
  readonly terminate: boolean;
}

export interface ForwardConfig {
  /** The smarthost, "host:port" and the other forms of `core/endpoint.ts`. */
  readonly to: string;
  readonly atStart: boolean;
  readonly onDisconnect: boolean;
  readonly immediate: boolean;
  /** null: no polling. */
  readonly pollSeconds: number | null;
  readonly recipients: "all" | "some";
  /** Tried in this order when the one before cannot be used; most have none. */
  readonly fallbacks: readonly string[];
  /** null: what fails is set aside at once. */
  readonly retry: RetryConfig | null;
  /** Connections to one smarthost at a time. */
  readonly parallel: number;
  /** null: no limit. */
  readonly rate: { readonly count: number; readonly periodMs: number } | null;
  readonly client: ClientConfig;
}

/** --retry and --expire. */
export interface RetryConfig {
  /** Milliseconds; at least one; the last repeats. */
  readonly delaysMs: readonly number[];
  /** Milliseconds from the arrival of a message. */
  readonly expireMs: number;
}

export interface ClientConfig {
  /** Local address of outgoing connections; "0.0.0.0" and "::" only choose the family; null: any. */
  readonly interface: string | null;
  readonly connectionTimeoutMs: number;
  /** 0: none. */
  readonly responseTimeoutMs: number;
  readonly promptTimeoutMs: number;
  /** The longest that one message may take, connection included; 0 for no limit. */
  readonly messageTimeoutMs: number;
  readonly smtp: ClientSmtpWords;
  /** --anonymous=client: MAIL ... AUTH=<>. */
  readonly anonymous: boolean;
  /** Path of the secrets file, or "plain:<b64 id>:<b64 pwd>"; null without --client-auth. */
  readonly secrets: string | null;
  readonly authConfig: string;
  readonly tls: ClientTls | null;
}

/** --client-smtp-config. */
export interface ClientSmtpWords {
  readonly pipelining: boolean;
  readonly smtputf8strict: boolean;
  readonly eightbitstrict: boolean;
  readonly binarymimestrict: boolean;
  readonly linger: boolean;
}

export interface ClientTls {
  readonly mode: "starttls" | "implicit";
  readonly required: boolean;
  readonly certificate: readonly string[];
  /** CA file, directory or "<default>"; null: not verified. */
  readonly verify: string | null;
  /** Wanted name in the certificate; null: not checked. */
  readonly verifyName: string | null;
  /** SNI; null: none. */
  readonly serverName: string | null;
  readonly versions: TlsVersions;
}
