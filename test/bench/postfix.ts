/** Debian's Postfix in folders of its own, with everything sent to the smarthost. */
import { execFile, execFileSync } from "node:child_process";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../support/catcher.ts";
import { SERVICES } from "../support/postfix.ts";
import { canConnect, until } from "../support/relayd.ts";
import type { MailProgram, Place } from "./mail-programs.ts";
import { childrenNamed } from "./processes.ts";

const run = promisify(execFile);

const HOLD = ["defer_transports = smtp"];

export function hasPostfix(): boolean {
  try {
    execFileSync("postconf", ["-h", "mail_version"], { stdio: "pipe" });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

/** `settings`: more lines for main.cf. */
export async function startPostfix(
  place: Place,
  settings: readonly string[] = [],
): Promise<MailProgram> {
  const { directory } = place;
  const port = await freePort();
  const config = join(directory, "etc");
  const queue = join(directory, "queue");
  for (const name of ["etc", "queue", "data"]) mkdirSync(join(directory, name));
  const write = (held: boolean) =>
    writeCooled(join(config, "main.cf"), mainCf(place, [...(held ? HOLD : []), ...settings]));
  write(place.mode === "hold");
  writeCooled(join(config, "master.cf"), masterCf(port));
  await run("chown", ["postfix", join(directory, "data")]);
  const postfix = async (...args: string[]) => await run("postfix", ["-c", config, ...args]);
  await postfix("start");
  await until(() => canConnect(port));
  const pid = Number(readFileSync(join(queue, "pid/master.pid"), "latin1").trim());
  const set = async (held: boolean) => {
    const [old] = childrenNamed(pid, "qmgr");
    write(held);
    process.kill(pid, "SIGHUP"); // As "postfix reload" does.
    // The queue manager of the old settings must not decide any more.
    await until(() => childrenNamed(pid, "qmgr").some((one) => one !== old));
  };
  return {
    port,
    pid,
    hold: async () => await set(true),
    async prepareRelease() {
      const busy = () => countFiles(queue, ["maildrop", "incoming", "active"]);
      await until(
        () => busy() === 0,
        () => `Postfix still works on ${busy()} messages`,
      );
      // What was deferred waits for minutes even so, until "postqueue -f".
      await set(false);
    },
    release: async () => void (await run("postqueue", ["-c", config, "-f"])),
    waiting: () => countFiles(queue, ["incoming", "active", "deferred", "hold"]),
    async [Symbol.asyncDispose]() {
      await postfix("stop");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Postfix waits for seconds before it reads a file that was written a moment ago. */
function writeCooled(path: string, text: string): void {
  writeFileSync(path, text);
  const past = statSync(path).mtimeMs / 1000 - 60;
  utimesSync(path, past, past);
}

function countFiles(queue: string, folders: readonly string[]): number {
  return folders.reduce((sum, folder) => {
    const found = readdirSync(join(queue, folder), { withFileTypes: true, recursive: true });
    return sum + found.filter((one) => one.isFile()).length;
  }, 0);
}

/** As Debian sets it up; every limit is Postfix's own, but for the connections to a smarthost if so few are asked for. */
function mainCf({ directory, sink, connections }: Place, more: readonly string[]): string {
  return [
    "compatibility_level = 3.6",
    `queue_directory = ${directory}/queue`,
    `data_directory = ${directory}/data`,
    `maillog_file = ${directory}/log`,
    `maillog_file_prefixes = ${directory}`,
    "myhostname = bench.test",
    "mydestination =",
    "alias_maps =",
    "inet_interfaces = loopback-only",
    "inet_protocols = ipv4",
    "mynetworks = 127.0.0.0/8",
    `relayhost = [127.0.0.1]:${sink}`,
    "smtpd_relay_restrictions = permit_mynetworks, reject",
    ...(connections === null ? [] : [`smtp_destination_concurrency_limit = ${connections}`]),
    ...more,
    "",
  ].join("\n");
}

function masterCf(port: number): string {
  return `127.0.0.1:${port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup${SERVICES}`;
}
