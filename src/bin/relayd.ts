#!/usr/bin/env node
/** The relay daemon. */

// Before anything else: a SIGUSR1 that nobody has caught opens Node's debugger on a port.
process.on("SIGUSR1", () => undefined);

const { main } = await import("../main.ts");
process.exitCode = await main({ argv: process.argv, env: process.env });
