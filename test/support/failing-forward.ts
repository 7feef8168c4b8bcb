/** Runs of a relayd that meet faults on their way through the spool. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Fault, whileFailing } from "./injected.ts";
import { runProgram, type TestRelay, until } from "./relayd.ts";

export interface ForwardTrouble {
  readonly calls: Fault["calls"];
  /** Of the one message that is there; "directory": the spool itself. */
  readonly ending: ".content" | `.envelope${"" | ".busy" | ".busy.tmp" | ".bad"}` | "directory";
  /** Which renames, when not all. */
  readonly renames?: string;
  /** What the log says then. */
  readonly told: RegExp;
}

/** A message of another program's: relayd has to read its files to know what it is. */
export async function leaveMail(relay: TestRelay, subject: string): Promise<void> {
  const args = ["--spool-dir", relay.spool, "--from=alice@example.com", "bob@example.net"];
  const { code, stderr } = await runProgram("relayd-submit", args, {
    input: `Subject: ${subject}\n\nx\n`,
  });
  assert.equal(code, 0, stderr);
}

/** Names and bytes of all that is in the spool. */
export function contents(relay: TestRelay): Record<string, string> {
  const read = (name: string) => readFileSync(join(relay.spool, name), "latin1");
  return Object.fromEntries(relay.files().map((name) => [name, read(name)]));
}

/** One run that has such trouble, and `work` before the trouble ends. */
export async function forwardFailing(
  relay: TestRelay,
  { calls, ending, renames, told }: ForwardTrouble,
  error: string,
  work: () => Promise<void> = async () => undefined,
): Promise<void> {
  const length = relay.log.length;
  const fault: Fault = {
    ...{ calls, error, paths: [pathOf(relay, ending)] },
    ...(renames === undefined ? {} : { renames }),
  };
  const { struck } = await whileFailing(relay.child.pid ?? 0, fault, async () => {
    await runOnce(relay);
    await until(
      () => told.test(relay.log.slice(length)),
      () => `${error}: ${relay.log.slice(length)}`,
    );
    await work();
  });
  assert.ok(struck > 0, `${error} has not struck`);
}

/** Asks for a run and waits for its end. */
export async function runOnce(relay: TestRelay): Promise<void> {
  const ends = () => relay.log.split(/forwarding: no (?:more )?messages/).length;
  const before = ends();
  relay.child.kill("SIGUSR1");
  await until(
    () => ends() > before,
    () => `no run ends: ${relay.log}`,
  );
}

function pathOf(relay: TestRelay, ending: ForwardTrouble["ending"]): string {
  if (ending === "directory") return relay.spool;
  const [content = ""] = relay.files().filter((name) => name.endsWith(".content"));
  return join(relay.spool, content.replace(".content", ending));
}
