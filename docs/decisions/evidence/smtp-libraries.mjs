#!/usr/bin/env node
// Evidence for decision 001: asks the installed smtp-server and nodemailer, over loopback, whether
// they still do what made us write the SMTP dialogue ourselves. Run it after every update of them:
//
//   node docs/decisions/evidence/smtp-libraries.mjs [--json]
//
// Prints one line per finding: "still so", "fixed", or "unknown" with the reason. Exit status 0
// whatever the libraries do; 1 only when it cannot run at all. Takes about ten seconds.
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import { clientFindings } from "./client-probes.mjs";
import { serverFindings } from "./server-probes.mjs";

const PROBE_LIMIT_MS = 10_000;
const require = createRequire(import.meta.url);
const findings = [...serverFindings, ...clientFindings];

async function ask(finding) {
  const { id, library, claim, probe } = finding;
  const version = require(`${library}/package.json`).version;
  const limit = new AbortController();
  const late = delay(
    PROBE_LIMIT_MS,
    { so: null, seen: "no result in time" },
    { signal: limit.signal },
  );
  try {
    const { so, seen } = await Promise.race([probe(), late]);
    const state = so === null ? "unknown" : so ? "still so" : "fixed";
    return { id, library, version, claim, state, seen };
  } catch (error) {
    return { id, library, version, claim, state: "unknown", seen: String(error) };
  } finally {
    limit.abort();
    await late.catch(() => undefined);
  }
}

async function main() {
  const together = findings.filter((finding) => finding.alone !== true);
  const answers = await Promise.all(together.map(ask));
  for (const finding of findings.filter(({ alone }) => alone === true)) {
    answers.push(await ask(finding));
  }
  const order = findings.map(({ id }) => id);
  answers.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id));
  if (process.argv.includes("--json")) {
    process.stdout.write(`${JSON.stringify(answers, null, 2)}\n`);
    return;
  }
  for (const { library, version, claim, state, seen } of answers) {
    process.stdout.write(`${state.padEnd(8)}  ${library} ${version} ${claim}\n          ${seen}\n`);
  }
}

await main();
// A probe that never came back must not keep the program: this waits for nothing, but ends the rest.
setTimeout(() => process.exit(0), 1000).unref();
