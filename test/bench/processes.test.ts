import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { present } from "../support/peer.ts";
import { listingsDuring } from "./listings.ts";
import { childrenNamed, memoryOf, usageOf } from "./processes.ts";

test("usageOf() counts the work of a child, also after it has ended", async () => {
  const script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo";
  const parent = spawn("sh", ["-c", `sh -c '${script}'; read x`], { stdio: "pipe" });
  after(() => parent.kill());
  await once(parent.stdout, "data");
  const { cpuMs, peakMegabytes } = usageOf(parent.pid ?? 0);
  assert.ok(cpuMs > 0);
  assert.ok(peakMegabytes > 0);
});

test("memoryOf() tells what is resident, and the peak is no less", () => {
  const { now, peak, ofFiles } = memoryOf(process.pid);
  assert.ok(now > 10);
  assert.ok(peak >= now);
  assert.ok(ofFiles > 0 && ofFiles < now);
});

test("childrenNamed() finds children by their program", async () => {
  const child = spawn("sleep", ["60"]);
  after(() => child.kill());
  await once(child, "spawn");
  assert.deepEqual(childrenNamed(process.pid, "sleep"), [child.pid]);
  assert.deepEqual(childrenNamed(process.pid, "no such"), []);
});

test("listingsDuring() counts each look at a directory once", {
  skip: present("strace"),
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), "relayd-test-"));
  after(() => rmSync(directory, { recursive: true }));
  const script = `
    const { readdirSync } = require("node:fs");
    process.stdin.once("data", () => {
      for (let times = 0; times < 7; times++) readdirSync(${JSON.stringify(directory)});
      process.stdout.write("done");
    });
    process.stdout.write("ready");`;
  const child = spawn(process.execPath, ["-e", script], { stdio: "pipe" });
  after(() => child.kill());
  await once(child.stdout, "data");
  const count = await listingsDuring(child.pid ?? 0, async () => {
    child.stdin.write("go");
    await once(child.stdout, "data");
  });
  assert.equal(count, 7);
  assert.deepEqual(readdirSync(directory), []);
});
