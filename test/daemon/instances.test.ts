/** Several relays in one process, of which some only forward. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { runProgram, TestRelay, temporary, until } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";

/** A spool directory with one message in it, and the options of an instance for it. */
function instance(name: string, ...options: readonly string[]) {
  const spool = join(temporary(), name);
  mkdirSync(spool);
  // New mail: an old message would be given up instead of being tried again.
  const id = (n: number) => `emailrelay.1.${Math.floor(Date.now() / 1000)}.${n}`;
  putMessage(spool, id(1));
  const all = [`spool-dir=${spool}`, "domain=relay.test", ...options];
  return {
    args: all.map((option) => `--${name}-${option}`),
    put: (n: number) => putMessage(spool, id(n)),
    left: () => readdirSync(spool).filter((file) => file.startsWith("emailrelay.")),
  };
}

async function startServing(...others: readonly string[]): Promise<TestRelay> {
  const port = await freePort();
  const serving = instance("in", `port=${port}`, "interface=127.0.0.1");
  return await TestRelay.start([...serving.args, ...others], { port, instances: true });
}

test("what an instance says of itself at the start carries its name", async () => {
  const secrets = join(temporary(), "secrets");
  writeFileSync(secrets, "server plain alice secret\n", { mode: 0o600 });
  const pop = ["pop", `pop-port=${await freePort()}`, `pop-auth=${secrets}`];
  const out = instance("out", ...pop, "no-smtp", "interface=127.0.0.1", "forward-to=127.0.0.1:1");
  const relay = await startServing(...out.args);
  await relay.logged("[in] smtp server on ");
  await relay.logged("[out] pop server on ");
  await relay.logged(`[out] pop server authentication secrets from "${secrets}"\n`);
  await relay.logged("[out] forwarding to 127.0.0.1:1\n");
});

test("a later instance that only forwards makes its run, and does not end the program", async () => {
  const smarthost = await openCatcher();
  const out = instance("out", `as-client=${smarthost.address}`);
  const relay = await startServing(...out.args);
  await smarthost.caught(1);
  await until(() => out.left().length === 0);
  out.put(2);
  relay.child.kill("SIGUSR1");
  await smarthost.caught(2);
  assert.equal(await relay.end(), 0);
});

test("a later instance that only forwards tries again what its smarthost puts off", async () => {
  let tries = 0;
  const smarthost = await openCatcher({
    mail: () => (++tries < 3 ? "451 4.7.1 not now" : undefined),
  });
  const out = instance("out", `as-client=${smarthost.address}`, "retry=200ms,400ms");
  await startServing(...out.args);
  await smarthost.caught(1);
  await until(() => out.left().length === 0);
  assert.equal(tries, 3);
});

test("instances that all only forward make their runs, and the first one's is the exit code", async () => {
  const smarthost = await openCatcher();
  const nowhere = await freePort();
  const client = (address: string) => ["log", "dont-serve", "forward", `forward-to=${address}`];
  const first = instance("a", ...client(`127.0.0.1:${nowhere}`), "no-daemon", "no-syslog");
  const second = instance("b", ...client(smarthost.address));
  for (const n of [2, 3, 4, 5]) second.put(n);
  const ran = await runProgram("relayd", ["--user=root", ...first.args, ...second.args]);
  assert.deepEqual([ran.code, smarthost.messages.length], [1, 5], ran.stderr);
  assert.equal(first.left().length, 2);
  assert.deepEqual(second.left(), []);
});
