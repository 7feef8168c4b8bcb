/** What an instance listens with: SMTP, POP and administration, as far as they are configured. */
import type { OpenServerAccounts } from "../auth/server-accounts.ts";
import { isPam } from "../config/paths.ts";
import type { AdminConfig, ListenerConfig, PopConfig } from "../core/config.ts";
import type { Control } from "../core/control.ts";
import type { Journal, ServerKind } from "../core/events.ts";
import type { OpenReception } from "../core/intake.ts";
import type { MessageId } from "../core/message-id.ts";
import { acceptAll } from "../core/verifier.ts";
import { asRoot } from "../io/identity.ts";
import type { Dnsbl } from "../policy/dnsbl.ts";
import type { ListenerOptions } from "../smtp/listener.ts";
import type { InstanceOptions, Reloadable } from "./options.ts";

/** One of them. */
interface Server {
  addresses(): readonly string[];
  drain(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface ServersOptions {
  readonly instance: InstanceOptions;
  readonly journal: Journal;
  readonly control: Control;
  readonly openReception: OpenReception;
  /** Whether a message of this size may be stored now. */
  readonly hasRoom: (bytes: number) => boolean;
  /** Called before somebody else than a forwarder removes a message, and when that has failed. */
  readonly noteRemoval: (id: MessageId, kind: "removed" | "kept") => void;
}

export class Servers {
  readonly #options: ServersOptions;
  readonly #open: { readonly kind: ServerKind; readonly server: Server }[] = [];
  readonly #reloadable: Reloadable[] = [];
  #enableSmtp: (enabled: boolean) => void = () => undefined;
  #dnsbl: Dnsbl | null = null;

  constructor(options: ServersOptions) {
    this.#options = options;
  }

  /** Opens the ports of all, SMTP last: who can send mail finds the others open. Throws BIND, TLS_SETUP, SECRETS_SYNTAX, CONFIG_INVALID. */
  async open(): Promise<void> {
    const { listener, pop, admin } = this.#options.instance.config;
    if (admin !== null) await this.#openAdmin(admin);
    if (pop !== null) await this.#openPop(pop);
    if (listener !== null) await this.#openSmtp(listener);
  }

  /** What is listened on, with its kind. */
  listening(): { readonly kind: ServerKind; readonly address: string }[] {
    return this.#open.flatMap(({ kind, server }) =>
      server.addresses().map((address) => ({ kind, address })),
    );
  }

  /** Those of the SMTP server. */
  smtpAddresses(): readonly string[] {
    return this.listening().flatMap(({ kind, address }) => (kind === "smtp" ? [address] : []));
  }

  /** While it is false, MAIL gets 421. */
  enableSmtp(enabled: boolean): void {
    this.#enableSmtp(enabled);
  }

  suspendDnsbl(seconds: number): void {
    this.#dnsbl?.suspend(seconds);
  }

  /** Whatever has secrets or certificates. */
  get reloadable(): readonly Reloadable[] {
    return this.#reloadable;
  }

  /** Stops accepting and lets every session finish what it has in hand. */
  async drain(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#open.map(async ({ server }) => await server.drain(signal)));
    this.#dnsbl?.close();
  }

  async #openSmtp(config: ListenerConfig): Promise<void> {
    const { instance, journal, openReception, hasRoom } = this.#options;
    const { domain, version, account, clock } = instance;
    const [{ openListener }, accounts, openVerifier, gate] = await Promise.all([
      import("../smtp/listener.ts"),
      this.#accounts(config),
      this.#openVerifier(config),
      this.#openGate(config),
    ]);
    const listener = await openListener({
      config,
      domain,
      version,
      group: account?.gid ?? null,
      accounts,
      openVerifier,
      gate,
      journal,
      clock,
      hasRoom,
      openReception,
    });
    this.#open.push({ kind: "smtp", server: listener });
    this.#reloadable.push({ reload: () => asRoot(() => listener.reloadTls()) });
    this.#enableSmtp = (enabled) => listener.enable(enabled);
  }

  async #openVerifier({ verifier }: ListenerConfig): Promise<ListenerOptions["openVerifier"]> {
    if (verifier === null) return () => acceptAll;
    const { instance, journal } = this.#options;
    const { config, account, domain, clock } = instance;
    const { openVerifier } = await import("../verifiers/open.ts");
    const { timeoutMs } = config.filters;
    return openVerifier(verifier, { timeoutMs, account, domain, journal, clock });
  }

  async #openGate({ dnsbl: spec }: ListenerConfig): Promise<ListenerOptions["gate"]> {
    if (spec === null) return null;
    const { instance, journal } = this.#options;
    const { openDnsbl } = await import("../policy/dnsbl.ts");
    const dnsbl = openDnsbl({ spec, journal, clock: instance.clock });
    this.#dnsbl = dnsbl;
    return async ({ address }, signal) => !(await dnsbl.check(address, signal)).denied;
  }

  async #openPop(config: PopConfig): Promise<void> {
    const { instance, journal, noteRemoval } = this.#options;
    const { account, clock } = instance;
    const [{ openPop }, accounts] = await Promise.all([
      import("../pop/server.ts"),
      this.#accounts(config),
    ]);
    const { spool } = instance.config;
    const group = account?.gid ?? null;
    const pop = await openPop({ config, spool, group, accounts, noteRemoval, journal, clock });
    this.#open.push({ kind: "pop", server: pop });
    this.#reloadable.push({ reload: () => asRoot(() => pop.reloadTls()) });
  }

  async #openAdmin(config: AdminConfig): Promise<void> {
    const { instance, journal, control } = this.#options;
    const { version, account, clock } = instance;
    const { openAdmin } = await import("../admin/server.ts");
    const group = account?.gid ?? null;
    const admin = await openAdmin({ config, group, version, control, journal, clock });
    this.#open.push({ kind: "admin", server: admin });
  }

  async #accounts({
    secrets,
    authConfig,
    tls,
  }: ListenerConfig | PopConfig): Promise<OpenServerAccounts> {
    const { instance, journal } = this.#options;
    const { domain, clock, readSecret } = instance;
    if (secrets !== null && isPam(secrets)) {
      const { openPamAccounts } = await import("../auth/pam.ts");
      return openPamAccounts({ text: secrets, authConfig, tlsAvailable: tls !== null });
    }
    const { openServerAccounts } = await import("../auth/server-accounts.ts");
    const accounts = openServerAccounts({
      path: secrets,
      authConfig,
      domain,
      tlsAvailable: tls !== null,
      journal,
      clock,
      read: readSecret,
    });
    this.#reloadable.push(accounts);
    return accounts;
  }
}
