import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { openTrialSmarthost } from "../../src/trial/smarthost.ts";
import { failedEnvelope, needs, project, type TempTree, tempTree } from "./temp-tree.ts";

const skip = needs("dash", "flock");

interface Smarthost extends AsyncDisposable {
  readonly address: string;
  /** Resolves when a message has arrived. */
  readonly arrival: Promise<unknown>;
}

async function smarthost(tree: TempTree): Promise<Smarthost> {
  const arrivals = new EventEmitter();
  const arrival = once(arrivals, "message", { signal: AbortSignal.timeout(30_000) });
  // Somebody who does not wait for it must not hear of it.
  arrival.catch(() => undefined);
  const trial = await openTrialSmarthost({
    directory: join(tree.root, "trial"),
    keep: 10,
    print: () => arrivals.emit("message"),
  });
  return {
    address: `127.0.0.1:${trial.port}`,
    arrival,
    [Symbol.asyncDispose]: async () => await trial.close(),
  };
}

async function putWaiting(spool: string, id: string): Promise<void> {
  await writeFile(join(spool, `${id}.content`), "Subject: hello\r\n\r\nbody\r\n");
  await writeFile(join(spool, `${id}.envelope`), failedEnvelope("me@example.test", 0));
}

/** Waits for a script that was left in the background: it holds the lock until it has ended. */
async function backgroundEnd(tree: TempTree): Promise<void> {
  const lock = join(tree.root, "run/relayd/forward.lock");
  await promisify(execFile)("flock", ["-w", "30", lock, "true"]);
}

async function messagesIn(spool: string): Promise<string[]> {
  return (await readdir(spool)).filter((name) => !name.startsWith("."));
}

/** A relayd that writes down how it was called. */
async function noteArguments(tree: TempTree): Promise<string> {
  return await tree.program("noted", `#!/bin/sh\nprintf '%s\\n' "$@" >'${tree.root}/args'\n`);
}

test("relayd-forward.sh drains the spool and logs", { skip }, async () => {
  await using tree = await tempTree();
  await using hop = await smarthost(tree);
  await putWaiting(tree.spool, "emailrelay.1.1.1");
  const env = { RELAYD_SMARTHOST: hop.address, RELAYD_SPOOL: tree.spool };
  const done = await tree.run("scripts/relayd-forward.sh", [], env);
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  await hop.arrival;
  assert.deepEqual(await messagesIn(tree.spool), []);
  assert.notEqual(await readFile(join(tree.root, "var/log/relayd-forward.log"), "utf8"), "");
});

test("ip-up.local drains the spool in the background", { skip }, async () => {
  await using tree = await tempTree();
  await using hop = await smarthost(tree);
  await putWaiting(tree.spool, "emailrelay.1.1.1");
  const env = { RELAYD_SMARTHOST: hop.address, RELAYD_SPOOL: tree.spool };
  const ppp = ["ppp0", "/dev/modem", "115200", "10.0.0.2", "10.0.0.1", ""];
  const done = await tree.run("scripts/ip-up.local", ppp, env);
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  await hop.arrival;
  await backgroundEnd(tree);
  assert.deepEqual(await messagesIn(tree.spool), []);
});

test("ppp-ip-up.d-relayd drains the spool in the background", { skip }, async () => {
  await using tree = await tempTree();
  await using hop = await smarthost(tree);
  await putWaiting(tree.spool, "emailrelay.1.1.1");
  const done = await tree.run("scripts/ppp-ip-up.d-relayd", [], {
    PPP_IFACE: "ppp0",
    RELAYD_SMARTHOST: hop.address,
    RELAYD_SPOOL: tree.spool,
  });
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  await hop.arrival;
  await backgroundEnd(tree);
  assert.deepEqual(await messagesIn(tree.spool), []);
});

test("ip-up.local does nothing for an interface that does not lead to the smarthost", {
  skip,
}, async () => {
  await using tree = await tempTree();
  const env = { RELAYD_INTERFACES: "ppp1 ppp2", RELAYD_SMARTHOST: "127.0.0.1:1" };
  const done = await tree.run("scripts/ip-up.local", ["ppp0"], env);
  assert.equal(done.status, 0);
  assert.deepEqual(await readdir(join(tree.root, "var/log")), []);
});

test("relayd-forward.sh takes smarthost and options from /etc/default/relayd", {
  skip,
}, async () => {
  await using tree = await tempTree();
  const settings = [
    `RELAYD_DAEMON='${await noteArguments(tree)}'`,
    "RELAYD_SMARTHOST=smtp.example.test:587",
    'RELAYD_CLIENT_OPTIONS="--client-tls --client-auth=/etc/relayd.auth"',
  ];
  await writeFile(join(tree.root, "etc/default/relayd"), `${settings.join("\n")}\n`);
  const done = await tree.run("scripts/relayd-forward.sh", ["/spool with blank"]);
  assert.equal(done.status, 0);
  assert.deepEqual((await readFile(join(tree.root, "args"), "utf8")).split("\n"), [
    "--as-client=smtp.example.test:587",
    "--log-time",
    "--spool-dir=/spool with blank",
    "--client-tls",
    "--client-auth=/etc/relayd.auth",
    "",
  ]);
});

test("relayd-forward.sh does nothing while it is under way", { skip }, async () => {
  await using tree = await tempTree();
  const env = {
    RELAYD_SMARTHOST: "127.0.0.1:1",
    RELAYD_DAEMON: "waiting",
    RELAYD_FORWARD_LOG: "-",
  };
  // The first run tells that it holds the lock, then waits until somebody writes to the fifo. Were a
  // second one let in, it would find the mark of the first.
  await promisify(execFile)("mkfifo", [join(tree.root, "started"), join(tree.root, "end")]);
  await tree.program(
    "waiting",
    `#!/bin/sh\ncd '${tree.root}' && mkdir mark || exit 9\necho started >started\ncat end\n`,
  );
  const first = tree.run("scripts/relayd-forward.sh", [], env);
  await readFile(join(tree.root, "started"));
  const second = await tree.run("scripts/relayd-forward.sh", [], env);
  assert.match(second.stderr, /relayd-forward\.sh: nothing done: forwarding is under way/);
  assert.equal(second.status, 0);
  await writeFile(join(tree.root, "end"), "");
  assert.equal((await first).status, 0);
});

test("relayd-forward.sh gives back relayd's exit status", { skip }, async () => {
  await using tree = await tempTree();
  await tree.program("failing", "#!/bin/sh\nexit 1\n");
  const env = { RELAYD_SMARTHOST: "127.0.0.1:1", RELAYD_DAEMON: "failing" };
  assert.equal((await tree.run("scripts/relayd-forward.sh", [], env)).status, 1);
});

test("relayd-forward.sh works where neither log nor lock can be written", { skip }, async () => {
  await using tree = await tempTree();
  const env = {
    RELAYD_DAEMON: await noteArguments(tree),
    RELAYD_SMARTHOST: "127.0.0.1:1",
    RELAYD_FORWARD_LOG: "/proc/none/log",
    RELAYD_RUN: "/proc/none/run",
  };
  assert.equal((await tree.run("scripts/relayd-forward.sh", [], env)).status, 0);
  assert.match(await readFile(join(tree.root, "args"), "utf8"), /^--as-client=/);
});

test("relayd-forward.sh says why it does nothing without a smarthost", { skip }, async () => {
  await using tree = await tempTree();
  const shipped = join(project, "scripts/default-relayd");
  await copyFile(shipped, join(tree.root, "etc/default/relayd"));
  const done = await tree.run("scripts/relayd-forward.sh");
  assert.equal(done.status, 0);
  const log = await readFile(join(tree.root, "var/log/relayd-forward.log"), "utf8");
  assert.match(log, /nothing done: no RELAYD_SMARTHOST in /);
});
