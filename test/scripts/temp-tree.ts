/** A small file system of its own for each test of a script, with the programs the scripts call. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The project: scripts/ and init.d/ are here. */
export const project = join(import.meta.dirname, "../../..");
/** The compiled programs of the same compilation as this test. */
const programs = join(import.meta.dirname, "../../src/bin");

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TempTree extends AsyncDisposable {
  readonly root: string;
  /** root/var/spool/relayd. */
  readonly spool: string;
  /** Writes an executable into root/bin, which comes first in PATH. */
  program(name: string, script: string): Promise<string>;
  /** Runs a script of the project by dash, its name relative to the project. */
  run(script: string, args?: readonly string[], env?: Record<string, string>): Promise<Finished>;
}

/** Makes the tree. `relayd`, `relayd-submit` and `relayd-notice` are in its PATH. */
export async function tempTree(): Promise<TempTree> {
  const root = await mkdtemp(join(tmpdir(), "relayd-scripts-"));
  // A daemon that becomes another account must be able to reach what is inside.
  await chmod(root, 0o755);
  const bin = join(root, "bin");
  const spool = join(root, "var/spool/relayd");
  for (const directory of [bin, spool, join(root, "etc/default"), join(root, "var/log")]) {
    await mkdir(directory, { recursive: true });
  }
  const program = async (name: string, script: string): Promise<string> => {
    await writeFile(join(bin, name), script);
    await chmod(join(bin, name), 0o755);
    return join(bin, name);
  };
  for (const name of ["relayd", "relayd-submit", "relayd-notice"]) {
    const compiled = join(programs, `${name}.js`);
    await program(name, `#!/bin/sh\nexec '${process.execPath}' '${compiled}' "$@"\n`);
  }
  return {
    root,
    spool,
    program,
    run: async (script, args = [], env = {}) =>
      await runScript([join(project, script), ...args], {
        PATH: `${bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        TMPDIR: root,
        RELAYD_ROOT: root,
        ...env,
      }),
    [Symbol.asyncDispose]: async () => await rm(root, { recursive: true, force: true }),
  };
}

async function runScript(args: readonly string[], env: Record<string, string>): Promise<Finished> {
  const child = spawn("dash", args, { env, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    // A program that the script started may still hold its output open when the time is over.
    child.once("exit", (_status, signal) => {
      if (signal === null) return;
      child.stdout.destroy();
      child.stderr.destroy();
    });
    child.once("close", (status) => resolve({ status, stdout, stderr }));
  });
}

/** For a test's `skip`: false when the programs are there, otherwise which one is not. Where peers
 *  must be present (CI=true), their absence is a failure. */
export function needs(...names: readonly string[]): string | false {
  for (const name of names) {
    try {
      execFileSync("sh", ["-c", 'command -v "$1"', "sh", name], { stdio: "ignore" });
    } catch {
      assert.notEqual(process.env.CI, "true", `${name} is not installed`);
      return `${name} is not installed`;
    }
  }
  return false;
}

/** An envelope as it stands after some failures; "" is the null sender. */
export function failedEnvelope(from: string, failures: number): string {
  const lines = [
    "X-MailRelay-Format: #2821.8",
    "X-MailRelay-Content: unknown",
    `X-MailRelay-From: ${from}`,
    "X-MailRelay-ToCount: 1",
    "X-MailRelay-To-Remote: r1@example.test",
    "X-MailRelay-Authentication: ",
    "X-MailRelay-Client: 127.0.0.1",
    "X-MailRelay-ClientCertificate: ",
    "X-MailRelay-MailFromAuthIn: ",
    "X-MailRelay-MailFromAuthOut: ",
    "X-MailRelay-ForwardTo: ",
    "X-MailRelay-ForwardToAddress: ",
    "X-MailRelay-ClientAccountSelector: ",
    "X-MailRelay-Utf8MailboxNames: 0",
    "X-MailRelay-End: 1",
  ];
  for (let failure = 0; failure < failures; failure += 1) {
    lines.push("X-MailRelay-Reason: no such mailbox", "X-MailRelay-ReasonCode: 550");
  }
  return lines.map((line) => `${line}\r\n`).join("");
}

/** Puts a failed message into a spool. */
export async function putFailed(
  spool: string,
  id: string,
  { from = "me@example.test", failures = 1, subject = "hello" } = {},
): Promise<void> {
  await writeFile(join(spool, `${id}.content`), `Subject: ${subject}\r\n\r\nbody\r\n`);
  await writeFile(join(spool, `${id}.envelope.bad`), failedEnvelope(from, failures));
}
