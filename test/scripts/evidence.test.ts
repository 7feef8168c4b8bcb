import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const program = join(import.meta.dirname, "../../../docs/decisions/evidence/smtp-libraries.mjs");

interface Finding {
  readonly id: string;
  readonly state: string;
  readonly version: string;
  readonly seen: string;
}

test("smtp-libraries.mjs tells of every finding whether it is still so", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [program, "--json"], {
    timeout: 90_000,
  });
  const findings = JSON.parse(stdout) as Finding[];
  // A library that mends its ways is good news and no failure; a probe that learns nothing is one.
  const undecided = findings.filter(({ state }) => state !== "still so" && state !== "fixed");
  assert.deepEqual(undecided, []);
  assert.ok(findings.every(({ version, seen }) => /^\d+\.\d+\.\d+/.test(version) && seen !== ""));
  assert.deepEqual(
    findings.map(({ id }) => id),
    [
      "server-dot-after-bare-lf",
      "server-leading-dot-kept",
      "server-xn-domain-rewritten",
      "server-recipients-merged",
      "server-quoted-local-part",
      "server-unknown-parameter",
      "server-no-chunking",
      "server-drip-never-ended",
      "server-dot-lines-cpu",
      "client-early-reply",
      "client-garbled-reply",
      "client-mixed-reply",
      "client-content-as-commands",
      "client-drip-never-ended",
    ],
  );
});
