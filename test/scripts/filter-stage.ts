/** A message in a spool of its own, and the examples run on it as relayd runs filters and verifiers. */
import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Finished, failedEnvelope, project } from "./temp-tree.ts";

export interface FilterStage extends AsyncDisposable {
  readonly spool: string;
  readonly content: string;
  readonly envelope: string;
  /** A copy of an example in which these lines have been edited; resolves to its path. */
  edited(name: string, lines: Readonly<Record<string, string>>): Promise<string>;
  /** Runs it on the message, with this PATH. */
  filter(path: string, search?: string): Promise<Finished>;
  /** Both files, byte for byte (latin1). */
  message(): Promise<{ content: string; envelope: string }>;
  files(): Promise<string[]>;
}

export const example = (name: string): string => join(project, "scripts/examples", name);

const ID = "emailrelay.1.1700000000.1";

/** `content` is latin1. */
export async function filterStage(content: string, from = "me@example.test"): Promise<FilterStage> {
  const root = await mkdtemp(join(tmpdir(), "relayd-filter-"));
  const spool = join(root, "spool");
  await mkdir(spool);
  const files = {
    content: join(spool, `${ID}.content`),
    envelope: join(spool, `${ID}.envelope.new`),
  };
  await writeFile(files.content, content, "latin1");
  await writeFile(files.envelope, failedEnvelope(from, 0), "latin1");
  return {
    spool,
    ...files,
    edited: async (name, lines) => await editExample(name, lines, root),
    filter: async (path, search) => await runReduced([path, files.content, files.envelope], search),
    message: async () => ({
      content: await readFile(files.content, "latin1"),
      envelope: await readFile(files.envelope, "latin1"),
    }),
    files: async () => (await readdir(spool, { recursive: true })).sort(),
    [Symbol.asyncDispose]: async () => await rm(root, { recursive: true, force: true }),
  };
}

/** An operator's edit: each line that begins "<name>=" between the two marks gets this value. */
export async function editExample(
  name: string,
  lines: Readonly<Record<string, string>>,
  directory: string,
): Promise<string> {
  let text = await readFile(example(name), "utf8");
  for (const [variable, value] of Object.entries(lines)) {
    const line = new RegExp(`^${variable}=.*$`, "m");
    if (!line.test(text)) throw new Error(`${name} has no line ${variable}=`);
    text = text.replace(line, () => `${variable}='${value}'`);
  }
  const path = join(directory, name);
  await writeFile(path, text);
  await chmod(path, 0o755);
  return path;
}

/** As relayd runs them: this environment, umask and directory, no input (R8, R9.1). */
export async function runReduced(
  command: readonly string[],
  search = "/usr/bin:/bin",
): Promise<Finished> {
  const child = spawn("/bin/sh", ["-c", 'umask 077; cd /; exec "$@"', "sh", ...command], {
    env: { PATH: search, IFS: " \t\n" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
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
    child.once("close", (status) => resolve({ status, stdout, stderr }));
  });
}
