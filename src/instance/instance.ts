/** One configured relay: builds the rooms it needs, introduces them to each other, and ends them in reverse. */
import { setMaxListeners } from "node:events";
import type { FlushResult } from "../core/control.ts";
import { parseEndpoint } from "../core/endpoint.ts";
import { describeError } from "../core/errors.ts";
import type { Journal, Level } from "../core/events.ts";
import { isOwnListener } from "../io/own-listener.ts";
import { whyNotFound } from "../io/resolvable.ts";
import { Alarm } from "../relay/alarm.ts";
import type { Stations } from "../relay/journey.ts";
import { receptionOpener } from "../relay/reception.ts";
import { Run } from "../relay/run.ts";
import { type Running, Scheduler } from "../relay/scheduler.ts";
import type { RunResult } from "../relay/tally.ts";
import { type FileStore, openFileStore } from "../spool/file-store.ts";
import { FreeRoom } from "../spool/free-room.ts";
import { type OpenTransport, openClient } from "./client.ts";
import { controlOf } from "./control.ts";
import { type Filters, openFilters } from "./filters.ts";
import { refuseLoops } from "./loops.ts";
import type { InstanceOptions, Reloadable } from "./options.ts";
import { reporting } from "./reports.ts";
import { Servers } from "./servers.ts";
import { Tidings } from "./tidings.ts";
import { waysOut } from "./ways-out.ts";

export class Instance {
  readonly #options: InstanceOptions;
  readonly #store: FileStore;
  readonly #tidings: Tidings;
  readonly #journal: Journal;
  readonly #at: Stations;
  readonly #scheduler: Scheduler;
  readonly #servers: Servers;
  readonly #soon = new AbortController();
  readonly #now = new AbortController();
  readonly #reloadable: Reloadable[] = [];
  readonly #alarm: Alarm;
  #client: Promise<OpenTransport> | null = null;
  #started = false;
  /** Runs of their own that somebody waits for. */
  readonly #flushes = new Set<Promise<FlushResult>>();

  private constructor(
    options: InstanceOptions,
    opened: { store: FileStore; tidings: Tidings; filters: Filters },
  ) {
    const { config, clock } = options;
    this.#options = options;
    this.#store = opened.store;
    this.#tidings = opened.tidings;
    this.#journal = opened.tidings.journal();
    const forwarding = config.forward;
    // Every filter and every connection of a run listens to them.
    setMaxListeners(0, this.#soon.signal, this.#now.signal);
    this.#scheduler = new Scheduler({
      journal: this.#journal,
      run: (forced) => this.#run(this.#at, this.#journal, forced),
      onIdle: () => this.#alarm.set(this.#at.retrying?.agenda.next() ?? null),
    });
    this.#alarm = new Alarm({
      clock,
      signal: this.#soon.signal,
      // A program that makes one run of its own has no further ones.
      onTime: () => {
        if (this.#started) this.forward("retry");
      },
    });
    this.#at = {
      ...opened.filters,
      store: opened.store,
      ...waysOut(forwarding, {
        journal: this.#journal,
        clock,
        onPlanned: (ms) => this.#alarm.advance(ms),
      }),
      journal: this.#journal,
      requestRun: (reason) => this.forward(reason),
      clock,
      ...reporting(config.reports, {
        store: opened.store,
        domain: options.domain,
        clock,
        journal: this.#journal,
        requestRun: (reason) => this.forward(reason),
      }),
    };
    const immediate = forwarding?.immediate === true;
    const room = new FreeRoom({ ...config.spool, journal: this.#journal, clock });
    this.#servers = new Servers({
      instance: options,
      journal: this.#journal,
      control: this.#control(),
      hasRoom: (bytes) => room.for(bytes),
      noteRemoval: (id, kind) => opened.store.noteRemoval(id, kind),
      openReception: receptionOpener({
        at: this.#at,
        immediate: immediate ? async () => (await this.#openClient())(this.#journal) : null,
        onClosed: () => this.#sessionClosed(),
      }),
    });
  }

  /** Opens the spool. Throws SPOOL_INVALID, CONFIG_INVALID. */
  static async open(options: InstanceOptions): Promise<Instance> {
    const { config, clock } = options;
    const tidings = new Tidings(options.journal, (config.forward?.pollSeconds ?? 0) > 60);
    const journal = tidings.journal();
    const store = await openFileStore({
      ...config.spool,
      watch: config.forward !== null && serves(options),
      ...(config.spool.commitJournal ? { commits: {} } : {}),
      journal,
      clock,
    });
    try {
      const filters = await openFilters(options, store, journal);
      return new Instance(options, { store, tidings, filters });
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** Reads secrets and certificates and opens the ports, with the rights that this needs. Throws BIND, TLS_SETUP, SECRETS_SYNTAX, CONFIG_CONFLICT. */
  async bind(): Promise<void> {
    const client = this.#options.config.forward?.client;
    // What needs rights is read now; a client without secrets and keys is loaded when there is mail.
    if (client !== undefined && (client.secrets !== null || client.tls !== null)) {
      await this.#openClient();
    }
    await this.#servers.open();
    refuseLoops(this.#options.config.forward, this.#servers.smtpAddresses());
  }

  /** Begins to forward as configured, until it is closed. */
  start(): void {
    this.#started = true;
    const { config, eager } = this.#options;
    const order = ["smtp", "admin", "pop"];
    const listening = this.#servers.listening();
    listening.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
    for (const { kind, address } of listening) {
      this.#journal.tell({ kind: "listener.opened", server: kind, address });
    }
    const { forward, pop } = config;
    if (pop !== null && pop.secrets !== null) {
      this.#journal.tell({ kind: "secrets.configured", server: "pop", path: pop.secrets });
    }
    if (forward === null) return;
    this.#sayWhereTo(forward.to);
    if (forward.immediate) this.#note("warning", IMMEDIATE_WARNING);
    if (forward.atStart) this.forward("startup");
    else this.#background(this.#warnUnresolved(forward.to));
    if (forward.pollSeconds !== null) this.#background(this.#poll(forward.pollSeconds));
    if (serves(this.#options)) this.#background(this.#watch(eager));
  }

  /** Asks for a forwarding run; nothing happens where nothing is to be forwarded. */
  forward(reason: string): void {
    if (this.#options.config.forward !== null) this.#scheduler.request(reason);
  }

  /** Makes one run and waits for it. */
  async forwardOnce(reason: string): Promise<RunResult> {
    const { forward } = this.#options.config;
    if (forward !== null) this.#sayWhereTo(forward.to);
    return await this.#scheduler.runOnce(reason);
  }

  /** Waits for the run under way, if there is one. */
  async settled(): Promise<void> {
    await this.#scheduler.settled();
  }

  /** True if something will still happen after the first run. */
  get serves(): boolean {
    const { forward } = this.#options.config;
    return serves(this.#options) || (forward !== null && forward.pollSeconds !== null);
  }

  /** Reads secrets and certificates anew; what is wrong is told and the old ones stay. */
  async reload(): Promise<void> {
    for (const one of [...this.#reloadable, ...this.#servers.reloadable]) {
      try {
        one.reload();
      } catch (error) {
        this.#note("error", `reload: ${describeError(error)}`);
      }
    }
    await this.#store.rescan();
  }

  /** One line of figures (SIGUSR2). Does not throw: a spool that cannot be listed is told in it. */
  async status(): Promise<string> {
    return `status: ${this.#tidings.summary()}, waiting ${await this.#waiting()}`;
  }

  async #waiting(): Promise<string> {
    try {
      return `${(await this.#store.ready()).length}`;
    } catch (error) {
      return `unknown: ${describeError(error)}`;
    }
  }

  /** Stops accepting, finishes what is in hand, puts leases back. When `signal` is aborted, gives up at once. */
  async close(signal: AbortSignal): Promise<void> {
    this.#soon.abort();
    const giveUp = () => this.#now.abort();
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
    await this.#servers.drain(signal);
    await this.#scheduler.stop();
    await Promise.all(this.#flushes);
    giveUp();
    await this.#store.close();
  }

  #control() {
    const { config, terminate } = this.#options;
    return controlOf({
      store: this.#store,
      forwards: config.forward !== null,
      forward: () => this.forward("admin"),
      flush: async () => await this.#flush(),
      listening: () => this.#servers.listening().map(({ address }) => address),
      enableSmtp: (enabled) => this.#servers.enableSmtp(enabled),
      suspendDnsbl: (seconds) => this.#servers.suspendDnsbl(seconds),
      terminate,
      subscribe: (listen) => this.#tidings.subscribe(listen),
    });
  }

  /** A run beside that of the scheduler: leases keep them apart. */
  #flush(): Promise<FlushResult> {
    const journal = this.#tidings.journal("flush");
    const { result } = this.#run({ ...this.#at, journal }, journal, true);
    const flush = result.catch((error: unknown) => ({ tried: 0, error: describeError(error) }));
    this.#flushes.add(flush);
    return flush.finally(() => this.#flushes.delete(flush));
  }

  #run(at: Stations, journal: Journal, forced: boolean): Running {
    const run = new Run(at, {
      openTransport: async () => (await this.#openClient())(journal),
      soon: this.#soon.signal,
      now: this.#now.signal,
      forced,
    });
    return {
      result: run.all(),
      again: (urgent) => run.again(urgent),
      connectedTo: () => run.connectedTo,
    };
  }

  /** What only forwarding needs is loaded when there is something to forward. */
  #openClient(): Promise<OpenTransport> {
    const { forward } = this.#options.config;
    if (forward === null) throw new Error("Unreachable: a run without a smarthost");
    this.#client ??= openClient(this.#options, forward, {
      journal: this.#journal,
      isOwnListener: (far) => isOwnListener(far, this.#servers.smtpAddresses()),
      onReloadable: (one) => this.#reloadable.push(one),
    }).catch((error: unknown) => {
      // A lack of descriptors, secrets that are being edited: the next message may fare better.
      this.#client = null;
      throw error;
    });
    return this.#client;
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

  #sayWhereTo(address: string): void {
    this.#journal.tell({ kind: "forward.configured", address });
  }

  #note(level: Level, text: string): void {
    this.#journal.tell({ kind: "note", level, detail: false, text });
  }
}

const IMMEDIATE_WARNING =
  "using --immediate can result in client timeout errors: try --forward-on-disconnect instead";

/** True if anybody can connect to it. */
function serves({ config: { listener, pop, admin } }: InstanceOptions): boolean {
  return listener !== null || pop !== null || admin !== null;
}
