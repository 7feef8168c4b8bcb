/** A running daemon: its log, its identity, its instances, from open ports to the last lease put back. */
import { existsSync, mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { DaemonConfig, InstanceConfig } from "./core/config.ts";
import { describeError } from "./core/errors.ts";
import type { Journal } from "./core/events.ts";
import { Instance } from "./instance/instance.ts";
import { systemClock } from "./io/clock.ts";
import { type Background, silence } from "./io/detach.ts";
import { ownDomain } from "./io/host-name.ts";
import { type Account, asRoot, become, becomeGroupOf, startedByRoot } from "./io/identity.ts";
import { removePidFile, writePidFile } from "./io/pid-file.ts";
import { findSystemAccount } from "./io/system-account.ts";
import { type Log, openLog } from "./observe/targets.ts";

export interface DaemonOptions {
  readonly config: DaemonConfig;
  readonly version: string;
  /** One line on standard error, for a person who waits in front of it. */
  readonly complain: (text: string) => void;
}

interface Occupied {
  readonly log: Log;
  readonly account: Account | null;
  readonly instances: Instance[];
  trial: { close(): Promise<void> } | null;
  /** Ends the program as a signal would. */
  terminate: () => void;
}

/** Opens log, spools, secrets and ports, in this order, gives up root, and writes the pid file. Throws RelayError before any mail is taken. */
export async function openDaemon(options: DaemonOptions): Promise<Daemon> {
  const { config } = options;
  const switches = startedByRoot() && config.user !== "root" && !config.trial;
  const account = switches ? findSystemAccount(config.user) : null;
  const log = openLog({
    config: config.log,
    program: config.program,
    pid: process.pid,
    clock: systemClock,
    group: account?.gid ?? null,
  });
  const occupied: Occupied = {
    log,
    account,
    instances: [],
    trial: null,
    terminate: () => undefined,
  };
  try {
    await occupy(occupied, options);
    announcePid(config, account);
  } catch (error) {
    await vacate(occupied, AbortSignal.abort());
    throw error;
  }
  return new Daemon(options, occupied);
}

async function occupy(occupied: Occupied, { config, version }: DaemonOptions): Promise<void> {
  const { account, log } = occupied;
  const trial = config.trial ? await openTrial(config) : null;
  occupied.trial = trial;
  const configs = config.instances.map((one) => (trial === null ? one : trial.redirect(one)));
  if (account !== null) takeIdentity(account, configs, log.journal(""));

  const named = configs.some((one) => one.domain === null) ? await ownDomain() : "";
  for (const one of configs) {
    occupied.instances.push(
      await Instance.open({
        config: one,
        domain: one.domain ?? named,
        version,
        account,
        journal: log.journal(one.name),
        clock: systemClock,
        readSecret: (path) => asRoot(() => readFileSync(path, "utf8")),
        eager: config.trial,
        terminate: () => occupied.terminate(),
      }),
    );
  }
  await withRoot(account, async () => {
    for (const instance of occupied.instances) await instance.bind();
  });
}

function announcePid({ pidFile }: DaemonConfig, account: Account | null): void {
  if (pidFile !== null) asRoot(() => writePidFile(pidFile, process.pid, account?.gid ?? null));
}

/** Ends everything in reverse order; when `signal` is aborted, at once. */
async function vacate(occupied: Occupied, signal: AbortSignal): Promise<void> {
  for (const instance of [...occupied.instances].reverse()) await instance.close(signal);
  await occupied.trial?.close();
  await occupied.log.close();
}

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #occupied: Occupied;
  readonly #giveUp = new AbortController();
  #leaving = false;
  #left: (code: number) => void = () => undefined;

  constructor(options: DaemonOptions, occupied: Occupied) {
    this.#options = options;
    this.#occupied = occupied;
    occupied.terminate = () => void this.#leave(0);
  }

  /**
   * Runs until a signal, or until there is nothing more to do; resolves to the exit code. `early` ends the noting of
   * signals, and returns those that have come.
   */
  async live(parent: Background | null, early: () => ReadonlySet<NodeJS.Signals>): Promise<number> {
    const { config } = this.#options;
    const ended = new Promise<number>((resolve) => {
      this.#left = resolve;
    });
    this.#catchSignals();
    const [first, ...others] = this.#occupied.instances;
    // Only the first one ends the program when it is a pure client (R1).
    if (first?.serves === true) first.start();
    for (const instance of others) instance.start();
    parent?.ready();
    if (config.detach) this.#settleInBackground();
    if (config.closeStderr) this.#occupied.log.closeStderr();
    if (first?.serves === false) void this.#runOnly(first);
    // In front as well: whoever reads the other end may wait for it. One that only forwards has a last word to say.
    else if (config.closeStderr) this.#silence(2);
    for (const signal of early()) process.emit(signal);
    const code = await ended;
    if (config.pidFile !== null) {
      const path = config.pidFile;
      asRoot(() => removePidFile(path, process.pid));
    }
    return code;
  }

  /** A program that only forwards: one run, whose error decides the exit code. Others that only forward end theirs first. */
  async #runOnly(instance: Instance): Promise<void> {
    const code = await this.#onlyRun(instance);
    const { instances } = this.#occupied;
    await Promise.all(instances.map(async (one) => (one.serves ? null : await one.settled())));
    await this.#leave(code);
  }

  async #onlyRun(instance: Instance): Promise<0 | 1> {
    const { config, complain } = this.#options;
    if (config.instances[0]?.forward?.atStart !== true) {
      complain("nothing to do");
      return 0;
    }
    const { tried, error, waiting = 0 } = await instance.forwardOnce("startup");
    if (error !== null) complain(`error: ${error}`);
    else if (waiting > 0) complain(`error: messages to be tried again: ${waiting}`);
    else if (tried === 0) complain("no messages to send");
    return error === null && waiting === 0 ? 0 : 1;
  }

  #catchSignals(): void {
    for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
      process.on(signal, () => void this.#leave(0));
    }
    process.on("SIGHUP", () => void this.#reload());
    process.on("SIGUSR1", () => {
      for (const instance of this.#occupied.instances) instance.forward("signal");
    });
    process.on("SIGUSR2", () => void this.#tellStatus());
    const crash = (error: unknown) => {
      // Our own fault: what is on disk is consistent at every moment, so the way out is to stop.
      const text = `internal error: ${error instanceof Error ? error.stack : describeError(error)}`;
      this.#note("error", text);
      if (this.#options.config.pidFile !== null) {
        removePidFile(this.#options.config.pidFile, process.pid);
      }
      process.exit(1);
    };
    process.on("uncaughtException", crash);
    process.on("unhandledRejection", crash);
  }

  /** The first call finishes what is in hand within the grace time; a second one ends at once. */
  async #leave(code: number): Promise<void> {
    if (this.#leaving) return this.#giveUp.abort();
    this.#leaving = true;
    const grace = setTimeout(() => this.#giveUp.abort(), this.#options.config.graceSeconds * 1000);
    await vacate(this.#occupied, this.#giveUp.signal);
    clearTimeout(grace);
    this.#left(code);
  }

  async #reload(): Promise<void> {
    this.#occupied.log.reopen();
    for (const instance of this.#occupied.instances) await instance.reload();
    this.#note("info", "reloaded secrets and certificates, reopened the log");
  }

  async #tellStatus(): Promise<void> {
    for (const instance of this.#occupied.instances) this.#note("info", await instance.status());
  }

  #settleInBackground(): void {
    process.chdir("/");
    this.#silence(0);
    this.#silence(1);
  }

  /** Unless we listen on it (`fd#0`). */
  #silence(fd: 0 | 1 | 2): void {
    if (!inheritedDescriptors(this.#options.config).includes(fd)) silence(fd);
  }

  #note(level: "info" | "error", text: string): void {
    this.#occupied.log.journal("").tell({ kind: "note", level, detail: false, text });
  }
}

/** Listening sockets that we were started with (`fd#<n>`). */
export function inheritedDescriptors(config: DaemonConfig): number[] {
  return config.instances
    .flatMap(({ listener, pop, admin }) => [listener, pop, admin])
    .flatMap((server) => server?.interfaces ?? [])
    .flatMap((one) => (one.kind === "fd" ? [one.fd] : []));
}

/** Gives up root, unless a spool could then not be written to: such a relay keeps root and says so. */
function takeIdentity(
  account: Account,
  configs: readonly InstanceConfig[],
  journal: Journal,
): void {
  become(account);
  // One that is not there at all stops the start in a moment, in words of its own.
  const closed = configs.find(
    ({ spool: { directory } }) => existsSync(directory) && !canWrite(directory),
  );
  if (closed === undefined) return;
  process.seteuid?.(0);
  becomeGroupOf(account);
  const text = `spool directory "${closed.spool.directory}" is not writable by ${account.name}: staying root`;
  journal.tell({ kind: "note", level: "warning", detail: false, text });
}

function canWrite(directory: string): boolean {
  try {
    rmdirSync(mkdtempSync(join(directory, ".relayd-")));
    return true;
  } catch {
    return false;
  }
}

/** Root again while ports are bound and secrets are read; nothing else happens at that time. */
async function withRoot(account: Account | null, work: () => Promise<void>): Promise<void> {
  const uid = process.geteuid?.();
  if (account === null || uid === undefined || uid === 0) return await work();
  process.seteuid?.(0);
  try {
    await work();
  } finally {
    process.seteuid?.(uid);
  }
}

async function openTrial(config: DaemonConfig) {
  const { openTrialSmarthost } = await import("./trial/smarthost.ts");
  const spool = config.instances[0]?.spool.directory ?? "spool";
  const smarthost = await openTrialSmarthost({
    directory: join(spool, "trial"),
    keep: 50,
    print: (line) => process.stdout.write(`${line}\n`),
  });
  process.stdout.write(`A whole relay to try: what you send is kept in ${join(spool, "trial")}\n`);
  process.stdout.write("End it with Ctrl-C.\n");
  return {
    close: async () => await smarthost.close(),
    redirect: (one: InstanceConfig): InstanceConfig =>
      one.forward === null
        ? one
        : { ...one, forward: { ...one.forward, to: `127.0.0.1:${smarthost.port}` } },
  };
}
