/**
 * Syslog. Node cannot write to /dev/log (a unix datagram socket), so the lines go through one
 * `logger` of util-linux that lives as long as we do; without it, as UDP datagrams to a syslog on this host.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Socket as DatagramSocket } from "node:dgram";
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import type { Clock } from "../core/clock.ts";
import type { SyslogFacility } from "../core/config.ts";
import type { Level } from "../core/events.ts";

export interface SyslogOptions {
  readonly facility: SyslogFacility;
  readonly program: string;
  readonly pid: number;
  readonly clock: Clock;
  readonly where: SyslogPlace;
  /** Tells, elsewhere than here, what is wrong with syslog. */
  readonly complain: (text: string) => void;
}

/** Where the syslog daemon is; the defaults are those of every Linux system. */
export interface SyslogPlace {
  /** Candidates for the program, in order. */
  readonly logger: readonly string[];
  /** null: /dev/log. */
  readonly socket: string | null;
  readonly udp: { readonly host: string; readonly port: number };
}

export const usualSyslog: SyslogPlace = {
  logger: ["/usr/bin/logger", "/bin/logger"],
  socket: null,
  udp: { host: "127.0.0.1", port: 514 },
};

const FACILITIES: Readonly<Record<SyslogFacility, number>> = {
  user: 1,
  mail: 2,
  daemon: 3,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
};
const SEVERITIES: Readonly<Record<Level, number>> = { error: 3, warning: 4, info: 6 };

/** A logger that ends this often within the time below is of no use. */
const MAX_STARTS = 5;
const STARTS_WITHIN_MS = 60_000;
/** What may wait in memory for a logger that does not read. */
const MAX_WAITING_BYTES = 1_000_000;
/** Longest line that is kept whole. */
const MAX_LINE_BYTES = 8192;
const CLOSE_WITHIN_MS = 2000;

export class Syslog {
  readonly #options: SyslogOptions;
  #child: ChildProcess | null = null;
  #starts: number[] = [];
  #lost = 0;
  #datagrams: DatagramSocket | null = null;
  /** Lines for the logger, until `flush()`. */
  #gathered = "";

  constructor(options: SyslogOptions) {
    this.#options = options;
  }

  /** Never waits and never throws. */
  write(level: Level, line: string): void {
    const priority = `<${FACILITIES[this.#options.facility] * 8 + SEVERITIES[level]}>`;
    if (this.#datagrams === null) this.#child ??= this.#start();
    if (this.#datagrams !== null) this.#send(priority, line);
    else if (this.#child !== null) this.#pass(this.#child, `${priority}${line}`);
  }

  /** The lines of one turn of the event loop go to the logger with one call. */
  flush(): void {
    const lines = this.#gathered;
    this.#gathered = "";
    if (lines !== "") this.#child?.stdin?.write(lines);
  }

  /** Waits until the logger has read everything, but not for ever. */
  async close(): Promise<void> {
    this.flush();
    this.#datagrams?.close();
    const child = this.#child;
    if (child === null) return;
    this.#starts = Array.from({ length: MAX_STARTS }, () => Number.POSITIVE_INFINITY);
    const ended = new Promise<void>((resolve) => {
      child.once("close", () => resolve());
    });
    child.ref();
    child.stdin?.end();
    const waiting = new AbortController();
    const late = this.#options.clock
      .sleep(CLOSE_WITHIN_MS, waiting.signal)
      .then(() => child.kill("SIGKILL"))
      .catch(() => undefined);
    await ended;
    waiting.abort();
    await late;
  }

  #pass(child: ChildProcess, line: string): void {
    const { stdin } = child;
    if (stdin === null || stdin.writableLength + this.#gathered.length > MAX_WAITING_BYTES) {
      this.#lost += 1;
      return;
    }
    if (this.#lost > 0) {
      const lost = `${this.#options.program}: warning: syslog: ${this.#lost} lines lost`;
      this.#gathered += `<${FACILITIES[this.#options.facility] * 8 + SEVERITIES.warning}>${lost}\n`;
      this.#lost = 0;
    }
    this.#gathered += `${line}\n`;
  }

  /** null when there is no logger, or it ends again and again: from then on UDP is used. */
  #start(): ChildProcess | null {
    const { clock, program, pid, where } = this.#options;
    const path = where.logger.find((candidate) => existsSync(candidate));
    if (path === undefined) return this.#turnToUdp("logger (util-linux) is not installed");
    const since = clock.monotonic() - STARTS_WITHIN_MS;
    this.#starts = this.#starts.filter((at) => at > since);
    if (this.#starts.length >= MAX_STARTS) return this.#turnToUdp(`${path} ends again and again`);
    this.#starts.push(clock.monotonic());
    const socket = where.socket === null ? [] : ["--socket", where.socket];
    const args = ["--prio-prefix", "--tag", program, `--id=${pid}`, "--size", `${MAX_LINE_BYTES}`];
    const child = spawn(path, [...args, ...socket], {
      stdio: ["pipe", "ignore", "ignore"],
      env: { PATH: "/usr/bin:/bin" },
      cwd: "/",
      // Its own session: what a terminal sends to us must not end it before it has our last lines.
      detached: true,
    });
    const gone = () => {
      if (this.#child === child) this.#child = null;
    };
    child.on("error", gone);
    child.on("exit", gone);
    child.stdin.on("error", gone);
    child.unref();
    if ("unref" in child.stdin && typeof child.stdin.unref === "function") child.stdin.unref();
    return child;
  }

  #turnToUdp(why: string): null {
    const { host, port } = this.#options.where.udp;
    this.#options.complain(`syslog: ${why}: sending to ${host}:${port} by udp`);
    const socket = process.getBuiltinModule("node:dgram").createSocket("udp4");
    socket.on("error", () => undefined);
    socket.unref();
    this.#datagrams = socket;
    return null;
  }

  /** RFC 3164. */
  #send(priority: string, line: string): void {
    const { clock, program, pid, where } = this.#options;
    const [host = "localhost"] = hostname().split(".");
    const head = `${priority}${stamp(new Date(clock.now()))} ${host} ${program}[${pid}]: `;
    const packet = Buffer.from(head + line).subarray(0, MAX_LINE_BYTES);
    this.#datagrams?.send(packet, where.udp.port, where.udp.host, () => undefined);
  }
}

/** "Nov  1 01:53:29". */
function stamp(date: Date): string {
  const month = date.toLocaleString("en-US", { month: "short" });
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${month} ${String(date.getDate()).padStart(2, " ")} ${clock}`;
}
