/** Programs that one round of a test starts, and that end with it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { whateverHappens } from "./whatever-happens.ts";

export class Children {
  readonly #children = new Set<ChildProcess>();
  readonly #done = whateverHappens(() => {
    for (const child of this.#children) child.kill("SIGKILL");
  });

  /** A program of node's; its output is dropped. */
  start(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, args, { stdio: "ignore" });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** Resolves to the exit code; null when a signal ended it. */
  async end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
    return child.exitCode;
  }

  async endAll(): Promise<void> {
    for (const child of [...this.#children]) await this.end(child, "SIGKILL");
    this.#done();
  }
}
