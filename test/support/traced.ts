/** relayd under strace: what it wrote, synced, renamed and said, and in which order. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { freePort } from "./catcher.ts";
import { bin, canConnect, temporary, temporarySpool, until } from "./relayd.ts";

const NAMES = [
  ...["openat", "rename", "renameat", "renameat2", "fsync", "fdatasync"],
  ...["write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg"],
];

/** One system call; `start` and `end` count the lines of the trace. */
interface Call {
  readonly name: string;
  readonly text: string;
  readonly start: number;
  end: number;
  failed: boolean;
}

/** A file under whatever name; a sync of it covers what was written to it before. */
interface File {
  /** When it first had a name that a recovery looks at. */
  named: number | null;
}

interface Step {
  readonly call: Call;
  readonly file: File | null;
}

export class TracedRelay {
  readonly spool = temporarySpool();
  readonly port: number;
  readonly #ended: Promise<void>;
  readonly #output: string;
  readonly #pidFile: string;

  private constructor(port: number, options: readonly string[]) {
    this.port = port;
    const folder = temporary();
    this.#output = join(folder, "trace");
    this.#pidFile = join(folder, "pid");
    const trace = ["-f", "-yy", "-s", "400000", "-e", `trace=${NAMES.join(",")}`];
    const relayd = [
      ...[bin("relayd"), "--no-daemon", "--user=root", "--domain=relay.test", "--no-syslog"],
      ...[`--spool-dir=${this.spool}`, "--interface=127.0.0.1", `--port=${port}`],
      ...[`--pid-file=${this.#pidFile}`, ...options],
    ];
    const args = [...trace, "-o", this.#output, process.execPath, ...relayd];
    const child = spawn("strace", args, { stdio: "ignore" });
    this.#ended = new Promise((resolve) => child.once("exit", () => resolve()));
    after(() => {
      this.#signal("SIGKILL");
      child.kill("SIGKILL");
    });
  }

  static async start(...options: readonly string[]): Promise<TracedRelay> {
    const relay = new TracedRelay(await freePort(), options);
    await until(async () => existsSync(relay.#pidFile) && (await canConnect(relay.port)));
    return relay;
  }

  /** Ends relayd. Throws unless each 250 came after its message was durable; `keys`: by the client's port. */
  async assertDurable(keys: ReadonlyMap<number, readonly string[]>): Promise<void> {
    this.#signal("SIGTERM");
    await this.#ended;
    const steps = follow(readTrace(readFileSync(this.#output, "latin1")), this.spool);
    for (const [port, expected] of keys) {
      const replies = steps.filter(({ call }) => says250(call, port));
      assert.equal(replies.length, expected.length);
      for (const [n, { call }] of replies.entries()) {
        for (const marker of markersOf(expected[n] ?? "")) assertSynced(steps, call, marker);
      }
    }
  }

  #signal(signal: NodeJS.Signals): void {
    if (existsSync(this.#pidFile)) process.kill(Number(readFileSync(this.#pidFile)), signal);
  }
}

/** A message that can be told in a trace: its first and its last line, and its envelope. */
export function traceable(key: string, lines = 3): string {
  const body = `${"x".repeat(70)}\r\n`.repeat(lines);
  return `X-Key: ${key}.\r\n\r\n${body}End: ${key}.\r\n`;
}

function markersOf(key: string): string[] {
  return [`X-Key: ${key}.`, `End: ${key}.`, `To-Remote: ${key}@`];
}

/** Whatever the file is: that of the message, or a journal for many. */
function assertSynced(steps: readonly Step[], reply: Call, marker: string): void {
  const before = steps.filter(({ call }) => call.end < reply.start && !call.failed);
  const writes = before.filter(
    ({ call, file }) => file !== null && isWrite(call) && call.text.includes(marker),
  );
  const syncs = before.filter(({ call }) => /^f(?:data)?sync$/.test(call.name));
  const durable = writes.some(({ call: write, file }) => {
    const named = file?.named ?? null;
    const synced = syncs.some((sync) => sync.file === file && sync.call.start > write.end);
    const kept = syncs.some(({ call, file: other }) => other === null && call.start > (named ?? 0));
    return named !== null && named < reply.start && synced && kept;
  });
  assert.ok(durable, `250 before "${marker}" is safe: written ${writes.length} times`);
}

/** Which file each call is about, through all its names; null for the directory and what is not in it. */
function follow(calls: readonly Call[], spool: string): Step[] {
  const files = new Map<string, File>();
  const inSpool = (path: string) => path.startsWith(`${spool}/`);
  const steps: Step[] = [];
  for (const call of calls) {
    const path = /<([^>]*)>/.exec(call.text)?.[1] ?? "";
    if (call.name.startsWith("rename")) {
      rename(files, call);
    } else if (call.name === "openat") {
      const made = call.text.includes("O_CREAT") ? quoted(call.text)[0] : undefined;
      if (made !== undefined && inSpool(made) && !call.failed) files.set(made, fresh(made, call));
    } else if (inSpool(path)) {
      const file = files.get(path) ?? fresh(path, call);
      files.set(path, file);
      steps.push({ call, file });
    } else if (path === spool || isWrite(call)) {
      steps.push({ call, file: null });
    }
  }
  return steps.filter(
    ({ call, file }) => file !== null || isWrite(call) || isDirectory(call, spool),
  );
}

function isDirectory(call: Call, spool: string): boolean {
  return call.text.includes(`<${spool}>`);
}

function fresh(path: string, call: Call): File {
  return { named: isKept(path) ? call.end : null };
}

function rename(files: Map<string, File>, call: Call): void {
  const [from = "", to = ""] = quoted(call.text);
  const file = files.get(from);
  if (file === undefined || call.failed) return;
  files.delete(from);
  files.set(to, file);
  if (isKept(to)) file.named ??= call.end;
}

/** A name that is not thrown away at the next start. */
const isKept = (path: string): boolean => !/\.(?:new|tmp)$/.test(path);
const isWrite = ({ name }: Call): boolean => /^(?:p?write|send)/.test(name);
const quoted = (text: string): string[] =>
  [...text.matchAll(/"([^"]*)"/g)].map((one) => one[1] ?? "");

function says250(call: Call, port: number): boolean {
  const toClient = new RegExp(`->[^>]*:${port}\\]>`).test(call.text);
  return isWrite(call) && toClient && call.text.includes("250 message processed");
}

function readTrace(trace: string): Call[] {
  const calls: Call[] = [];
  const unfinished = new Map<string, Call>();
  for (const [at, line] of trace.split("\n").entries()) {
    const [, thread = "", rest = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const begun = /^(\w+)\((.*)$/.exec(rest);
    const call = unfinished.get(thread);
    if (rest.startsWith("<... ") && call !== undefined) {
      call.end = at;
      call.failed = / = -1 /.test(rest);
      unfinished.delete(thread);
    } else if (begun !== null) {
      const [, name = "", text = ""] = begun;
      const made = { name, text, start: at, end: at, failed: / = -1 E\w+ /.test(text.slice(-200)) };
      calls.push(made);
      if (!text.endsWith("<unfinished ...>")) continue;
      made.end = Number.POSITIVE_INFINITY;
      unfinished.set(thread, made);
    }
  }
  return calls;
}
