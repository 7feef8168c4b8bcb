import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { runProgram, sendMail, TestRelay, temporary, temporarySpool } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";

async function startError(...options: readonly string[]): Promise<string> {
  const { code, stderr } = await runProgram("relayd", [
    ...["--no-daemon", "--no-syslog", "--user=root", `--spool-dir=${temporarySpool()}`, ...options],
  ]);
  assert.equal(code, 1);
  return stderr;
}

test("a relay does not start that would forward to its own listener", async () => {
  const port = await freePort();
  const said = await startError(`--port=${port}`, `--forward-to=127.0.0.1:${port}`);
  assert.match(said, /cannot forward to "127\.0\.0\.1:\d+": this relay itself listens there/);
  const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  const other = all.find(({ family, internal }) => family === "IPv4" && !internal)?.address;
  if (other === undefined) return;
  assert.match(
    await startError(`--port=${port}`, `--forward-to=${other}:${port}`),
    /this relay itself/,
  );
});

test("mail that a name or its own address leads back here stays in the queue, and is told of", async () => {
  const spool = temporarySpool();
  const port = await freePort();
  putMessage(spool, "emailrelay.1.2.3", { forwardToAddress: `127.0.0.1:${port}` });
  const catcher = await openCatcher();
  const relay = await TestRelay.start(["--forward", `--forward-to=${catcher.address}`], {
    spool,
    port,
  });
  await relay.logged(/127\.0\.0\.1:\d+ is this relay itself/);
  assert.equal(catcher.messages.length, 0);
  assert.ok(relay.files().some((name) => name.startsWith("emailrelay.1.2.3.envelope")));
});

test("one instance may forward to another of the same process", async () => {
  const folder = temporary();
  for (const name of ["a", "b"]) mkdirSync(join(folder, name));
  const [port, between] = [await freePort(), await freePort()];
  const catcher = await openCatcher();
  const instance = (name: string, ...options: readonly string[]) => [
    ...[`--${name}-spool-dir=${join(folder, name)}`, `--${name}-interface=127.0.0.1`],
    ...[`--${name}-domain=relay.test`, `--${name}-forward-on-disconnect`],
    ...options.map((option) => `--${name}-${option}`),
  ];
  await TestRelay.start(
    [
      ...instance("a", `port=${port}`, `forward-to=127.0.0.1:${between}`),
      ...instance("b", `port=${between}`, `forward-to=${catcher.address}`),
    ],
    { port, instances: true },
  );
  assert.equal(await sendMail(port), "250 message processed");
  await catcher.caught(1);
});

test("--check-config names a relay that would forward to its own listener", async () => {
  const spool = `--spool-dir=${temporarySpool()}`;
  const check = async (...options: readonly string[]) =>
    await runProgram("relayd", ["--check-config", "--user=root", spool, ...options]);
  const loop = ["--port=12525", "--interface=127.0.0.1", "--forward-on-disconnect"];
  const wrong = await check(...loop, "--forward-to=mail.example.com:25,127.0.0.1:12525");
  assert.equal(wrong.code, 1, wrong.stdout);
  assert.match(
    wrong.stdout,
    /^--forward-to: cannot forward to "127\.0\.0\.1:12525": this relay itself listens there$/m,
  );
  const any = await check(
    "--port=12525",
    "--forward-on-disconnect",
    "--forward-to=localhost:12525",
  );
  assert.match(any.stdout, /this relay itself/);
  const socket = join(temporary(), "smtp");
  const unix = await check(
    "--forward-on-disconnect",
    `--interface=${socket}`,
    `--forward-to=${socket}`,
  );
  assert.match(unix.stdout, /this relay itself/);
  for (const far of ["127.0.0.1:12526", "127.0.0.2:12525", "localhost:12526"]) {
    const right = await check(...loop, `--forward-to=${far}`);
    assert.equal(right.code, 0, right.stdout);
  }
});
