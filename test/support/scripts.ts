import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporary } from "./relayd.ts";

/** A shell script in a directory of its own; every account may run it. */
export function script(...lines: readonly string[]): string {
  const directory = temporary();
  chmodSync(directory, 0o755);
  const path = join(directory, "script");
  writeFileSync(path, `#!/bin/sh\n${lines.join("\n")}\n`);
  chmodSync(path, 0o755);
  return path;
}
