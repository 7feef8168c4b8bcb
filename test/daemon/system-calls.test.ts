/** What a message costs does not grow with their number: counts of system calls, not seconds. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { openSink, send } from "../bench/load.ts";
import { freePort } from "../support/catcher.ts";
import { present } from "../support/peer.ts";
import { bin, canConnect, temporary, temporarySpool, until } from "../support/relayd.ts";

type Counts = ReadonlyMap<string, number>;

const FEW = 60;
const MANY = 10 * FEW;

/** Takes so many messages, hands each on, and ends. */
async function relayed(messages: number): Promise<Counts> {
  const directory = temporary();
  const [summary, pid] = [join(directory, "summary"), join(directory, "pid")];
  using sink = await openSink();
  const port = await freePort();
  const traced = spawn(
    "strace",
    [
      ...["-f", "-c", "-U", "name,calls", "-o", summary, process.execPath, bin("relayd")],
      ...["--no-daemon", "--user=root", "--no-syslog", "--interface=127.0.0.1"],
      ...[`--port=${port}`, `--spool-dir=${temporarySpool()}`, `--pid-file=${pid}`],
      ...["--domain=relay.test", "--forward-on-disconnect", `--forward-to=127.0.0.1:${sink.port}`],
    ],
    { stdio: "ignore" },
  );
  after(() => traced.kill("SIGKILL"));
  await until(() => canConnect(port));
  await send(port, { messages, sessions: 5, bytes: 1000, reuse: false });
  await sink.reaches(messages);
  process.kill(Number(readFileSync(pid, "latin1")), "SIGTERM");
  await once(traced, "exit");
  const found = readFileSync(summary, "latin1").matchAll(/^\s*(\w+)\s+(\d+)\s*$/gm);
  return new Map([...found].map(([, name = "", calls]) => [name, Number(calls)]));
}

test("system calls and directory listings of a message do not grow with their number", {
  skip: present("strace", "smtp-source", "smtp-sink"),
  timeout: 100_000,
}, async (t) => {
  const [few, many] = [await relayed(FEW), await relayed(MANY)];
  const added = (name: string) => ((many.get(name) ?? 0) - (few.get(name) ?? 0)) / (MANY - FEW);
  const listings = added("getdents64") * (MANY - FEW);
  t.diagnostic(`listings: ${listings} more for ${MANY - FEW} more messages`);
  // At times a look at the whole directory; never one for each message.
  assert.ok(listings < (MANY - FEW) / 10, `${listings} more listings`);
  for (const [name, most] of Object.entries(MOST)) {
    const calls = name.split(" ").reduce((sum, one) => sum + added(one), 0);
    t.diagnostic(`${name}: ${calls.toFixed(2)} a message`);
    assert.ok(calls <= most, `${name}: ${calls.toFixed(2)} a message`);
    // Many messages may need fewer than few, which have no journal and are not locked from the start.
    if (!/sync|rename/.test(name)) assert.ok(calls > 0, `${name}: ${calls.toFixed(2)} a message`);
  }
});

/** The most that one more message may cost, from a new connection to its removal after delivery. */
const MOST: Readonly<Record<string, number>> = {
  rename: 2.5,
  unlink: 2.5,
  openat: 4.5,
  "fsync fdatasync": 3.5,
  total: 120,
};
