/** One configured relay: builds the rooms it needs, introduces them to each other, and ends them in reverse. */
import type { ServerAccounts } from "./core/auth.ts";
import type { Clock } from "./core/clock.ts";
import type { ForwardConfig, InstanceConfig, ListenerConfig } from "./core/config.ts";
import { parseEndpoint } from "./core/endpoint.ts";
import { describeError } from "./core/errors.ts";
import type { Journal, RelayEvent } from "./core/events.ts";
import type { Transport } from "./core/transport.ts";
import { acceptAll } from "./core/verifier.ts";
import { asRoot } from "./io/identity.ts";
import { whyNotFound } from "./io/resolvable.ts";
import type { Stations } from "./relay/journey.ts";
import { receptionOpener } from "./relay/reception.ts";
import { type RunResult, run } from "./relay/run.ts";
import { Scheduler } from "./relay/scheduler.ts";
import type { Listener } from "./smtp/listener.ts";
import { type FileStore, openFileStore } from "./spool/file-store.ts";

export interface InstanceOptions {
  readonly config: InstanceConfig;
  readonly domain: string;
  readonly version: string;
  readonly group: number | null;
  readonly journal: Journal;
  readonly clock: Clock;
  /** Reads a secrets file with the rights that the process was started with. */
  readonly readSecret: (path: string) => string;
  /** Watch the spool and forward as soon as something appears in it (--trial). */
  readonly eager: boolean;
}

/** Whatever keeps secrets or certificates in memory and can read them anew. */
interface Reloadable {
  reload(): void;
}

interface Counts {
  accepted: number;
  delivered: number;
  failed: number;
  sessions: number;
}

export class Instance {
  readonly #options: InstanceOptions;
  readonly #store: FileStore;
  readonly #at: Stations;
  readonly #scheduler: Scheduler;
  readonly #soon = new AbortController();
  readonly #now = new AbortController();
  readonly #counts: Counts;
  readonly #reloadable: Reloadable[] = [];
  #clientRoom: Promise<() => Transport> | null = null;
  #listener: Listener | null = null;

  private constructor(options: InstanceOptions, store: FileStore, counts: Counts) {
    this.#options = options;
    this.#store = store;
    this.#counts = counts;
    const { config, journal, clock } = options;
    const forwarding = config.forward;
    this.#scheduler = new Scheduler({
      journal,
      pollSeconds: forwarding?.pollSeconds ?? null,
      run: async () => await this.#run(),
    });
    this.#at = {
      store,
      openServerFilter: null,
      openClientFilter: null,
      openRoutingFilter: null,
      route: (envelope) => ({
        address:
          envelope.forwardToAddress === "" ? (forwarding?.to ?? "") : envelope.forwardToAddress,
        account: envelope.clientAccountSelector,
      }),
      recipients: forwarding?.recipients ?? "all",
      journal,
      requestRun: (reason) => this.forward(reason),
      monotonic: () => clock.monotonic(),
    };
  }

  /** Opens the spool. Throws SPOOL_INVALID. */
  static async open(given: InstanceOptions): Promise<Instance> {
    const counts = { accepted: 0, delivered: 0, failed: 0, sessions: 0 };
    const options = { ...given, journal: counting(given.journal, counts) };
    const store = await openFileStore({
      ...options.config.spool,
      watch: options.config.forward !== null && options.config.listener !== null,
      journal: options.journal,
      clock: options.clock,
    });
    return new Instance(options, store, counts);
  }

  /** Reads secrets and certificates and opens the ports, with the rights that this needs. Throws BIND, TLS_SETUP, SECRETS_SYNTAX. */
  async bind(): Promise<void> {
    const { config } = this.#options;
    const client = config.forward?.client;
    // What needs rights is read now; a client without secrets and keys is loaded when there is mail.
    if (client !== undefined && (client.secrets !== null || client.tls !== null)) {
      await this.#openClientRoom();
    }
    if (config.listener !== null) this.#listener = await this.#listen(config.listener);
  }

  /** Begins to forward as configured. */
  start(): void {
    const { config, journal, eager } = this.#options;
    for (const address of this.#listener?.addresses() ?? []) {
      journal.tell({ kind: "listener.opened", server: "smtp", address });
    }
    const { forward } = config;
    if (forward === null) return;
    journal.tell({ kind: "forward.configured", address: forward.to });
    if (forward.immediate) warnImmediate(journal);
    if (forward.atStart) this.forward("startup");
    else this.#background(this.#warnUnresolved(forward.to));
    if (forward.pollSeconds !== null) this.#background(this.#poll(forward.pollSeconds));
    if (this.#listener !== null) this.#background(this.#watch(eager));
  }

  /** Asks for a forwarding run; nothing happens where nothing is to be forwarded. */
  forward(reason: string): void {
    if (this.#options.config.forward !== null) this.#scheduler.request(reason);
  }

  /** Makes one run and waits for it. */
  async forwardOnce(reason: string): Promise<RunResult> {
    return await this.#scheduler.runOnce(reason);
  }

  /** True if something will still happen after the first run. */
  get serves(): boolean {
    const { listener, forward } = this.#options.config;
    return listener !== null || (forward !== null && forward.pollSeconds !== null);
  }

  /** Reads secrets and certificates anew; what is wrong is told and the old ones stay. */
  async reload(): Promise<void> {
    for (const one of this.#reloadable) {
      try {
        one.reload();
      } catch (error) {
        this.#note("error", `reload: ${describeError(error)}`);
      }
    }
    await this.#store.rescan();
  }

  /** One line of figures (SIGUSR2). */
  async status(): Promise<string> {
    const { accepted, delivered, failed, sessions } = this.#counts;
    const waiting = (await this.#store.ready()).length;
    return `status: sessions ${sessions}, accepted ${accepted}, delivered ${delivered}, failed ${failed}, waiting ${waiting}`;
  }

  /** Stops accepting, finishes what is in hand, puts leases back. When `signal` is aborted, gives up at once. */
  async close(signal: AbortSignal): Promise<void> {
    this.#soon.abort();
    const giveUp = () => this.#now.abort();
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
    await this.#listener?.drain(signal);
    await this.#scheduler.stop();
    giveUp();
    await this.#store.close();
  }

  async #run(): Promise<RunResult> {
    const openTransport = async () => (await this.#openClientRoom())();
    return await run(this.#at, openTransport, { soon: this.#soon.signal, now: this.#now.signal });
  }

  async #listen(config: ListenerConfig): Promise<Listener> {
    const { domain, version, journal, clock, group } = this.#options;
    const [{ openListener }, accounts] = await Promise.all([
      import("./smtp/listener.ts"),
      this.#openServerAccounts(config),
    ]);
    const immediate = this.#options.config.forward?.immediate === true;
    const listener = await openListener({
      config,
      domain,
      version,
      group,
      accounts,
      openVerifier: () => acceptAll,
      gate: null,
      journal,
      clock,
      openReception: receptionOpener({
        at: this.#at,
        immediate: immediate ? async () => (await this.#openClientRoom())() : null,
        onClosed: () => this.#sessionClosed(),
      }),
    });
    this.#reloadable.push({ reload: () => asRoot(() => listener.reloadTls()) });
    return listener;
  }

  async #openServerAccounts(config: ListenerConfig): Promise<ServerAccounts> {
    const { domain, journal, clock, readSecret } = this.#options;
    const { openServerAccounts } = await import("./auth/server-accounts.ts");
    const accounts = openServerAccounts({
      path: config.secrets,
      authConfig: config.authConfig,
      domain,
      tlsAvailable: config.tls !== null,
      journal,
      clock,
      read: readSecret,
    });
    this.#reloadable.push(accounts);
    return accounts;
  }

  /** What only forwarding needs is loaded when there is something to forward. */
  #openClientRoom(): Promise<() => Transport> {
    const { forward } = this.#options.config;
    if (forward === null) throw new Error("Unreachable: a run without a smarthost");
    this.#clientRoom ??= this.#makeClientRoom(forward);
    return this.#clientRoom;
  }

  async #makeClientRoom(forward: ForwardConfig): Promise<() => Transport> {
    const { domain, journal, clock, readSecret } = this.#options;
    const [{ openTransport }, { openClientTls }, { openClientAccounts }] = await Promise.all([
      import("./smtp/transport.ts"),
      import("./smtp/client-tls.ts"),
      import("./auth/client-accounts.ts"),
    ]);
    const { client, recipients } = forward;
    const tls = client.tls === null ? null : openClientTls(client.tls);
    const { secrets, authConfig } = client;
    const accounts = openClientAccounts({ secrets, authConfig, journal, clock, read: readSecret });
    this.#reloadable.push(accounts);
    const terms = { config: client, recipients, domain, accounts, journal, clock, tls };
    return () => openTransport(terms);
  }

  #sessionClosed(): void {
    if (this.#options.config.forward?.onDisconnect === true) this.forward("client disconnect");
  }

  /** The operator should hear of a misspelt smarthost before the first mail does. */
  async #warnUnresolved(smarthost: string): Promise<void> {
    const endpoint = parseEndpoint(smarthost);
    if (endpoint?.kind !== "ip") return;
    const host = endpoint.socks?.host ?? endpoint.host;
    const reason = await whyNotFound(host);
    if (reason === null || this.#soon.signal.aborted) return;
    const text = `dns lookup of forward-to address failed: no such host: "${host}" (${reason})`;
    this.#note("warning", text);
  }

  async #poll(seconds: number): Promise<void> {
    for (;;) {
      await this.#options.clock.sleep(seconds * 1000, this.#soon.signal);
      await this.#store.recover();
      this.forward("poll");
    }
  }

  /** The spool's own index follows its watcher; only an eager instance forwards for that. */
  async #watch(eager: boolean): Promise<void> {
    for await (const _ of this.#store.changes(this.#soon.signal)) {
      if (eager) this.forward("spool change");
    }
  }

  #background(work: Promise<void>): void {
    void work.catch((error: unknown) => {
      if (!this.#soon.signal.aborted) this.#note("error", describeError(error));
    });
  }

  #note(level: "warning" | "error", text: string): void {
    this.#options.journal.tell({ kind: "note", level, detail: false, text });
  }
}

function warnImmediate(journal: Journal): void {
  const text =
    "using --immediate can result in client timeout errors: try --forward-on-disconnect instead";
  journal.tell({ kind: "note", level: "warning", detail: false, text });
}

/** A journal that also counts, for the status line. */
function counting(journal: Journal, counts: Counts): Journal {
  return {
    detail: journal.detail,
    tell(event: RelayEvent) {
      if (event.kind === "message.accepted") counts.accepted += 1;
      if (event.kind === "message.delivered") counts.delivered += 1;
      if (event.kind === "message.failed") counts.failed += 1;
      if (event.kind === "session.opened") counts.sessions += 1;
      if (event.kind === "session.closed") counts.sessions -= 1;
      journal.tell(event);
    },
  };
}
