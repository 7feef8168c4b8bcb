import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { freePort } from "./catcher.ts";
import { whateverHappens } from "./whatever-happens.ts";

/** The compiled programs, beside the compiled tests. */
export const bin = (name: string): string =>
  join(import.meta.dirname, "../../src/bin", `${name}.js`);

/** A directory that is removed after the tests of the file. */
export function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), "relayd-test-"));
  const clear = () => {
    try {
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // A program that is ended after this, which an error would prevent, still writes: once more at the end.
    }
  };
  whateverHappens(clear);
  after(clear);
  return directory;
}

export function temporarySpool(): string {
  const spool = join(temporary(), "spool");
  mkdirSync(spool);
  return spool;
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export async function runProgram(
  name: string,
  args: readonly string[],
  options: { input?: string | Buffer; env?: Record<string, string>; cwd?: string } = {},
): Promise<Ran> {
  const child = spawn(process.execPath, [bin(name), ...args], {
    stdio: "pipe",
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (data: Buffer) => {
    stdout += data.toString("latin1");
  });
  child.stderr.on("data", (data: Buffer) => {
    stderr += data.toString("latin1");
  });
  const watchdog = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(watchdog);
  return { code, stdout, stderr };
}

/** A relayd in the foreground that logs in full to a file of its own. */
export class TestRelay {
  readonly spool: string;
  readonly port: number;
  readonly child: ChildProcess;
  readonly #logFile: string;
  stderr = "";

  private constructor(spool: string, port: number, logFile: string, args: readonly string[]) {
    this.spool = spool;
    this.port = port;
    this.#logFile = logFile;
    this.child = spawn(process.execPath, [bin("relayd"), ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.child.stderr?.on("data", (data: Buffer) => {
      this.stderr += data.toString("latin1");
    });
    whateverHappens(() => this.child.kill("SIGKILL"));
    after(() => this.child.kill("SIGKILL"));
  }

  /** Resolves when all that it listens on is open. Throws with standard error when relayd ends before. */
  static async start(
    args: readonly string[],
    given: { spool?: string; port?: number; instances?: boolean } = {},
  ): Promise<TestRelay> {
    const spool = given.spool ?? temporarySpool();
    const port = given.port ?? (await freePort());
    const logFile = join(temporary(), "log");
    writeFileSync(logFile, "");
    const relay = new TestRelay(spool, port, logFile, [
      ...["--no-daemon", "--user=root", `--log-file=${logFile}`],
      // With instances each has its own.
      ...(given.instances === true
        ? []
        : [`--port=${port}`, `--spool-dir=${spool}`, "--domain=relay.test"]),
      ...(given.instances === true ? [] : ["--interface=127.0.0.1"]),
      ...["--log", "--verbose", "--no-syslog", ...args],
    ]);
    await relay.#reachable();
    return relay;
  }

  get log(): string {
    return readFileSync(this.#logFile, "latin1");
  }

  /** Names in the spool, without the program's own directory. */
  files(): string[] {
    return readdirSync(this.spool)
      .filter((name) => name !== ".relayd")
      .sort();
  }

  /** Resolves when the log has this text; rejects after 20 seconds. */
  async logged(text: string | RegExp): Promise<void> {
    await until(
      () => (typeof text === "string" ? this.log.includes(text) : text.test(this.log)),
      () => `no ${String(text)} in the log:\n${this.log}\n${this.stderr}`,
    );
  }

  /** Sends a signal and resolves to the exit code, or the name of the signal that ended it. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<number | string | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    const ended = once(this.child, "exit");
    this.child.kill(signal);
    const [code, by] = (await ended) as [number | null, NodeJS.Signals | null];
    return code ?? by;
  }

  async #reachable(): Promise<void> {
    await until(
      async () => {
        if (this.child.exitCode !== null) throw new Error(`relayd ended: ${this.stderr}`);
        // Told when the last of its ports is open, which one that can be connected to says nothing of.
        return / server on |forwarding to /.test(this.log) && (await canConnect(this.port));
      },
      () => `relayd does not listen: ${this.log}\n${this.stderr}`,
    );
  }
}

/** Looks every 20 ms until it is true; rejects after 20 seconds. */
export async function until(
  look: () => boolean | Promise<boolean>,
  complaint: () => string = () => "it never happened",
): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (await look()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(complaint());
}

export async function canConnect(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  return await new Promise((resolve) => {
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** Speaks SMTP line by line: sends each command after the reply to the one before. Resolves to the replies. */
export async function dialogue(port: number, lines: readonly string[]): Promise<string[]> {
  const socket = connect(port, "127.0.0.1");
  const replies: string[] = [];
  const rest = [...lines];
  let buffer = "";
  socket.setEncoding("latin1");
  return await new Promise((resolve, reject) => {
    socket.setTimeout(20_000, () => {
      socket.destroy();
      reject(new Error(`no reply after: ${replies.join(" | ")}`));
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(replies));
    socket.on("data", (data) => {
      buffer += data;
      for (let end = buffer.indexOf("\r\n"); end >= 0; end = buffer.indexOf("\r\n")) {
        const line = buffer.slice(0, end);
        buffer = buffer.slice(end + 2);
        if (/^\d\d\d-/.test(line)) continue;
        replies.push(line);
        const next = rest.shift();
        if (next === undefined) socket.end();
        else socket.write(Buffer.from(`${next}\r\n`, "latin1"));
      }
    });
  });
}

/** Sends one message; resolves to the reply to its end. */
export async function sendMail(
  port: number,
  message: { from?: string; to?: readonly string[]; content?: string } = {},
): Promise<string> {
  const { from = "alice@example.com", to = ["bob@example.net"], content } = message;
  const replies = await dialogue(port, [
    "EHLO client.test",
    `MAIL FROM:<${from}>`,
    ...to.map((one) => `RCPT TO:<${one}>`),
    "DATA",
    `${content ?? "Subject: hello\r\n\r\nworld"}\r\n.`,
    "QUIT",
  ]);
  return replies[replies.length - 2] ?? "";
}
