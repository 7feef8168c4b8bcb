/** Rounds of a crash test: mail is pumped in, something is killed, started again and drained, and everything is accounted for. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Account, accountFor } from "./accounting.ts";
import { freePort } from "./catcher.ts";
import { Children } from "./children.ts";
import { MailPump, randomFrom } from "./mail-pump.ts";
import { canConnect, until } from "./relayd.ts";
import { whateverHappens } from "./whatever-happens.ts";

/** What is killed, and how the mail gets on. */
export const KINDS = ["daemon", "immediate", "filter", "forwarder", "smarthost"] as const;
export type Kind = (typeof KINDS)[number];

export interface CrashAccount extends Account {
  /** Files in the spool after the drain. */
  readonly left: readonly string[];
  readonly kills: number;
}

const programs = join(import.meta.dirname, "../../src/bin");
const PATIENCE = { tries: 400, everyMs: 50 };

export async function crashRound(seed: number, kind: Kind): Promise<CrashAccount> {
  const folder = mkdtempSync(join(tmpdir(), "relayd-crash-"));
  const clear = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  const done = whateverHappens(clear);
  const round = new Round(folder, kind, randomFrom(seed), await freePort(), await freePort());
  try {
    return await round.run(`r${seed}`);
  } finally {
    await round.end();
    clear();
    done();
  }
}

class Round {
  readonly #spool: string;
  readonly #record: string;
  readonly #filter: string;
  readonly #log: string;
  readonly #kind: Kind;
  readonly #random: () => number;
  readonly #port: number;
  readonly #smarthostPort: number;
  readonly #children = new Children();
  #kills = 0;

  constructor(
    folder: string,
    kind: Kind,
    random: () => number,
    port: number,
    smarthostPort: number,
  ) {
    this.#spool = join(folder, "spool");
    this.#record = join(folder, "record");
    this.#filter = join(folder, "filter");
    this.#log = join(folder, "log");
    this.#kind = kind;
    this.#random = random;
    this.#port = port;
    this.#smarthostPort = smarthostPort;
    mkdirSync(this.#spool);
    writeFileSync(this.#record, "");
    const edit = '{ printf "X-Filtered: yes\\r\\n"; cat "$1"; } >"$1.tmp" && mv "$1.tmp" "$1"';
    writeFileSync(this.#filter, `#!/bin/sh\n${edit}\n`, { mode: 0o755 });
  }

  async run(prefix: string): Promise<CrashAccount> {
    const smarthost = await this.#startSmarthost();
    const daemon = await this.#startDaemon();
    const pump = new MailPump(this.#port, { prefix, sessions: 4, random: this.#random });
    // The first connections take a moment.
    await until(() => pump.accepted.size > 0);
    const delay = Math.floor(this.#random() * 300);
    if (this.#kind === "forwarder") await this.#killForwarders(delay);
    else await this.#pause(delay);
    if (this.#kind === "smarthost") await this.#kill(smarthost);
    else if (this.#kind !== "forwarder") await this.#kill(daemon);
    // A smarthost that is missed for a moment, while mail still comes in.
    if (this.#kind === "smarthost") await this.#pause(30);
    if (this.#kind === "smarthost") await this.#startSmarthost();
    await pump.stop();
    const last = daemon.signalCode === null ? daemon : await this.#restart();
    await this.#drain(last);
    return this.#account(pump);
  }

  async end(): Promise<void> {
    await this.#children.endAll();
  }

  /** The one that puts things right may be killed as well. */
  async #restart(): Promise<ChildProcess> {
    if (this.#random() < 0.3) {
      const hasty = this.#spawn(this.#daemonArguments());
      await this.#pause(80 + Math.floor(this.#random() * 300));
      await this.#kill(hasty);
    }
    return await this.#startDaemon();
  }

  async #killForwarders(delay: number): Promise<void> {
    for (let n = 0; n < 2; n++) {
      const forwarder = this.#spawn(this.#forwarderArguments());
      // It takes this long to start.
      await this.#pause(130 + delay);
      await this.#kill(forwarder);
    }
  }

  async #drain(daemon: ChildProcess): Promise<void> {
    for (let tries = 0; tries < PATIENCE.tries && this.#waiting() > 0; tries++) {
      if (this.#kind === "forwarder") await once(this.#spawn(this.#forwarderArguments()), "exit");
      else daemon.kill("SIGUSR1");
      await this.#pause(PATIENCE.everyMs);
    }
    const code = await this.#children.end(daemon, "SIGTERM");
    if (code !== 0) throw new Error(`relayd ended with ${code}: ${this.#lastWords()}`);
  }

  #account(pump: MailPump): CrashAccount {
    const left = readdirSync(this.#spool).filter((name) => name !== ".relayd");
    return { ...accountFor(pump, this.#record), left, kills: this.#kills };
  }

  #waiting(): number {
    return readdirSync(this.#spool).filter((name) => /\.envelope(?:\.busy)?$/.test(name)).length;
  }

  async #startSmarthost(): Promise<ChildProcess> {
    const path = join(import.meta.dirname, "recording-smarthost.js");
    const child = this.#children.start([path, String(this.#smarthostPort), this.#record]);
    await until(async () => await canConnect(this.#smarthostPort));
    return child;
  }

  async #startDaemon(): Promise<ChildProcess> {
    const child = this.#spawn(this.#daemonArguments());
    await until(
      async () => child.exitCode !== null || (await canConnect(this.#port)),
      () => `relayd does not start: ${this.#lastWords()}`,
    );
    return child;
  }

  #daemonArguments(): string[] {
    const out = `--forward-to=127.0.0.1:${this.#smarthostPort}`;
    const ways: Record<Kind, string[]> = {
      daemon: [out, "--forward", "--forward-on-disconnect", "--poll=1"],
      immediate: [out, "--forward", "--immediate", "--poll=1"],
      filter: [out, "--forward", "--poll=1", `--filter=${this.#filter}`],
      forwarder: [],
      smarthost: [out, "--forward", "--poll=1"],
    };
    const serve = ["--no-daemon", `--port=${this.#port}`, "--interface=127.0.0.1"];
    const smtp = ["--server-smtp-config=pipelining,chunking", ...ways[this.#kind]];
    return [...serve, ...smtp, "--no-syslog", "--log", `--log-file=${this.#log}`];
  }

  #forwarderArguments(): string[] {
    return [`--as-client=127.0.0.1:${this.#smarthostPort}`];
  }

  #spawn(args: readonly string[]): ChildProcess {
    const common = ["--user=root", "--domain=crash.test", `--spool-dir=${this.#spool}`];
    return this.#children.start([join(programs, "relayd.js"), ...common, ...args]);
  }

  async #kill(child: ChildProcess): Promise<void> {
    this.#kills += 1;
    await this.#children.end(child, "SIGKILL");
  }

  async #pause(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
  }

  #lastWords(): string {
    try {
      return readFileSync(this.#log, "latin1").slice(-2000);
    } catch {
      return "";
    }
  }
}
