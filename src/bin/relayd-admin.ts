#!/usr/bin/env node
/** relayd-admin: what an administrator says to a running relayd, from a shell. */
import { basename, extname } from "node:path";
import { runAdmin } from "../admin/program.ts";
import { pathExists } from "../io/path-exists.ts";

const [, script = "relayd-admin", ...args] = process.argv;

// Nobody reads us any more: "relayd-admin notify | head".
process.stdout.on("error", () => process.exit(1));

process.exitCode = await runAdmin(args, {
  program: basename(script, extname(script)),
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
  readSettings: async (path) => {
    if (!pathExists(path)) return null;
    const { readConfigFile } = await import("../config/file.ts");
    return readConfigFile(path, process.cwd());
  },
});
