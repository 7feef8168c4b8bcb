/** A relayd that meets faults from its start on, at full speed: strace looks only at the calls that fail. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { freePort } from "./catcher.ts";
import { bin, canConnect, temporary, temporarySpool, until } from "./relayd.ts";
import { whateverHappens } from "./whatever-happens.ts";

export class FailingRelay {
  readonly spool = temporarySpool();
  readonly port: number;
  readonly #folder = temporary();
  readonly #ended: Promise<void>;

  /** `injection`: options of strace. */
  private constructor(port: number, injection: readonly string[]) {
    this.port = port;
    writeFileSync(this.#path("log"), "");
    const tracing = ["-f", "--seccomp-bpf", "-o", this.#path("trace"), ...injection];
    const strace = spawn("strace", [
      ...[...tracing, process.execPath, bin("relayd"), "--no-daemon", "--user=root"],
      ...["--domain=relay.test", "--no-syslog", "--log", `--log-file=${this.#path("log")}`],
      ...[`--spool-dir=${this.spool}`, "--interface=127.0.0.1", `--port=${port}`],
      ...[`--pid-file=${this.#path("pid")}`, "--server-smtp-config=pipelining,chunking"],
    ]);
    this.#ended = new Promise((resolve) => strace.once("exit", () => resolve()));
    const kill = () => {
      this.#signal("SIGKILL");
      strace.kill("SIGKILL");
    };
    whateverHappens(kill);
    after(kill);
  }

  static async start(injection: readonly string[]): Promise<FailingRelay> {
    const relay = new FailingRelay(await freePort(), injection);
    await until(async () => existsSync(relay.#path("pid")) && (await canConnect(relay.port)));
    return relay;
  }

  get log(): string {
    return readFileSync(this.#path("log"), "latin1");
  }

  async end(): Promise<void> {
    this.#signal("SIGTERM");
    await this.#ended;
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  /** To relayd itself; its pid file is there while it runs. */
  #signal(signal: NodeJS.Signals): void {
    const file = this.#path("pid");
    if (existsSync(file)) process.kill(Number(readFileSync(file)), signal);
  }
}
