/** What real processes leave behind that were killed while they used a spool. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { systemClock } from "../../src/io/clock.ts";
import { type ProcessTable, systemProcesses } from "../../src/spool/process-table.ts";
import type { Part } from "../support/store-program.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

test("a process killed between lease and release leaves nothing stranded", async (t) => {
  await using spool = await tempSpool();
  const child = startHolder(spool);
  t.after(() => child.kill("SIGKILL"));
  const [line] = (await once(
    createInterface({ input: child.stdout ?? assert.fail() }),
    "line",
  )) as [string];
  const [held, draft] = line.split(" ");
  const beside = await spool.open();
  assert.deepEqual(await beside.recover(), []);
  assert.deepEqual(await beside.ready(), []);
  assert.ok(spool.names().includes(`${draft}.content`));
  child.kill("SIGKILL");
  await once(child, "exit");
  await beside.recover();
  assert.deepEqual(await beside.ready(), [held]);
  assert.deepEqual(spool.names(), [`${held}.content`, `${held}.envelope`]);
});

function startHolder(spool: TempSpool): ChildProcess {
  const program = join(import.meta.dirname, "../support/store-program.js");
  const part: Part = "hold";
  return spawn(process.execPath, [program, part, spool.directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

test("a killed process that nobody has waited for yet counts as dead", async () => {
  // A shell that does not wait for its child, which is a zombie as long as the shell lives.
  const shell = spawn("sh", ["-c", "sh -c 'echo $$; exit' & exec sleep 60"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [line] = (await once(createInterface({ input: shell.stdout }), "line")) as [string];
  const processes: ProcessTable = systemProcesses();
  for (let turn = 0; turn < 1000 && processes.startOf(Number(line)) !== null; turn++) {
    await systemClock.sleep(20, new AbortController().signal);
  }
  assert.equal(processes.startOf(Number(line)), null);
  shell.kill();
});
