/** A secrets file in use: read at the start, and again when it has changed; what is wrong in a changed file never ends a running relay. */
import { type BigIntStats, statSync } from "node:fs";
import { basename } from "node:path";
import type { Clock } from "../core/clock.ts";
import { describeError, RelayError } from "../core/errors.ts";
import type { Journal, Level } from "../core/events.ts";
import { asRoot } from "../io/identity.ts";
import { type ParsedSecrets, parseSecrets, type Secrets } from "./secrets.ts";

/** How often, at most, a file is looked at while it is in use. */
const CHECK_EVERY_MS = 1000;

export interface SecretsFileOptions {
  readonly path: string;
  readonly journal: Journal;
  readonly clock: Clock;
  /** Reads the file, with more rights than the process has otherwise where that is needed. */
  readonly read: (path: string) => string;
}

/** Throws SECRETS_SYNTAX with a text for the operator; each problem has been told to the journal before. */
export function openSecretsFile(options: SecretsFileOptions): SecretsFile {
  const file = new SecretsFile(options);
  file.reload();
  return file;
}

class SecretsFile {
  readonly #options: SecretsFileOptions;
  #secrets: Secrets = parseSecrets("").secrets;
  #stamp = "";
  #lookedAt: number;

  constructor(options: SecretsFileOptions) {
    this.#options = options;
    this.#lookedAt = options.clock.monotonic();
  }

  /** The secrets as they are in the file now, or were a second ago. */
  current(): Secrets {
    const { clock, path, journal } = this.#options;
    if (clock.monotonic() - this.#lookedAt < CHECK_EVERY_MS) return this.#secrets;
    this.#lookedAt = clock.monotonic();
    const stamp = stampOf(path);
    if (stamp === this.#stamp) return this.#secrets;
    journal.tell({ kind: "secrets.reread", path });
    try {
      this.reload();
    } catch (error) {
      this.#tell("error", `${describeError(error)}: keeping the secrets that were read before`);
    }
    return this.#secrets;
  }

  /** Reads the file now. Throws SECRETS_SYNTAX, and then the old secrets stay. */
  reload(): void {
    const { path, read } = this.#options;
    // The stamp is taken before the file is read: what changes in between is found the next time.
    this.#stamp = stampOf(path);
    const parsed = parseSecrets(readText(path, read));
    const exposed = worldReadable(path);
    if (exposed !== null) this.#tell("warning", exposed);
    this.#tellProblems(parsed);
    const [first] = parsed.problems.filter((problem) => problem.encoding);
    if (first !== undefined) throw new RelayError("SECRETS_SYNTAX", path, first.text);
    if (parsed.problems.some((problem) => problem.level === "error")) {
      throw new RelayError("SECRETS_SYNTAX", path, "invalid secrets file");
    }
    this.#secrets = parsed.secrets;
  }

  #tellProblems({ problems }: ParsedSecrets): void {
    const { path } = this.#options;
    const listed = problems.filter((problem) => !problem.encoding);
    if (listed.length === 0) return;
    this.#tell("warning", `problems reading secrets file [${path}]...`);
    for (const { level, line, text } of listed) {
      this.#tell(level, `${basename(path)}(${line}): ${text}`);
    }
  }

  #tell(level: Level, text: string): void {
    this.#options.journal.tell({ kind: "note", level, detail: false, text });
  }
}

export type { SecretsFile };

/** Everything that is wrong with a secrets file, one line each, for --check-config. */
export function checkSecretsFile(
  path: string,
  read: (path: string) => string,
): readonly { readonly level: "warning" | "error"; readonly text: string }[] {
  let text: string;
  try {
    text = readText(path, read);
  } catch (error) {
    return [{ level: "error", text: describeError(error) }];
  }
  const exposed = worldReadable(path);
  const found = parseSecrets(text).problems.map((problem) => ({
    level: problem.level,
    text: `${basename(path)}(${problem.line}): ${problem.text}`,
  }));
  return exposed === null ? found : [{ level: "warning", text: exposed }, ...found];
}

/** What to say about a file with secrets or keys that everybody may read; null when all is well. */
export function worldReadable(path: string): string | null {
  const found = look(path);
  if (found === null || (found.mode & 0o004n) === 0n) return null;
  const mode = (found.mode & 0o7777n).toString(8).padStart(4, "0");
  return `${path}: readable by everybody (mode ${mode}): chmod 600`;
}

function readText(path: string, read: (path: string) => string): string {
  try {
    return read(path);
  } catch (cause) {
    throw new RelayError("SECRETS_SYNTAX", path, `cannot read secrets file: ${path}`, { cause });
  }
}

/** Changes whenever the file does. */
function stampOf(path: string): string {
  const found = look(path);
  return found === null ? "none" : `${found.mtimeNs} ${found.size} ${found.ino}`;
}

function look(path: string): BigIntStats | null {
  try {
    return asRoot(() => statSync(path, { bigint: true }));
  } catch {
    return null;
  }
}
