/** Mail that waits is always tried again, whoever tried it first, and whatever else is under way. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { runProgram, sendMail, TestRelay, temporary, until } from "../support/relayd.ts";

const soon = "--retry=200ms,400ms";

function greylisting(times: number) {
  let tries = 0;
  return { mail: () => (++tries <= times ? "451 4.7.1 greylisted" : undefined) };
}

test("--immediate with --retry tries again by itself what was deferred", async () => {
  const smarthost = await openCatcher(greylisting(2));
  const relay = await TestRelay.start([soon, `--forward-to=${smarthost.address}`, "--immediate"]);
  assert.match(await sendMail(relay.port), /^250/);
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
});

test("--immediate with --retry takes mail while the smarthost is away, and sends it by itself", async () => {
  const port = await freePort();
  const relay = await TestRelay.start([soon, `--forward-to=127.0.0.1:${port}`, "--immediate"]);
  assert.match(await sendMail(relay.port), /^250/);
  const smarthost = await openCatcher({}, port);
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
});

test("what an administrator's flush could not deliver is tried again by itself", async () => {
  const smarthost = await openCatcher(greylisting(2));
  const admin = await freePort();
  const relay = await TestRelay.start([
    soon,
    `--forward-to=${smarthost.address}`,
    `--admin=${admin}`,
  ]);
  await sendMail(relay.port);
  const client = connect(admin, "127.0.0.1");
  after(() => client.destroy());
  await once(client, "connect");
  client.write("flush\r\n");
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
});

test("a message that takes long does not put off the next attempt of others", async () => {
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let tries = 0;
  const smarthost = await openCatcher({
    rcpt: (line) => (line.includes("grey") && ++tries < 3 ? "451 4.7.1 greylisted" : undefined),
    waits: async ({ to }) => {
      if (to[0] === "slow@x.test") await gate;
    },
  });
  const relay = await TestRelay.start([
    soon,
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port, { to: ["slow@x.test"] });
  await until(() => smarthost.messages.length === 1);
  await sendMail(relay.port, { to: ["grey@x.test"] });
  await until(() => smarthost.messages.some(({ to }) => to[0] === "grey@x.test"));
  letGo();
  await until(() => relay.files().length === 0);
});

test("who asks for a run during another one is told which smarthost that one is connected to", async () => {
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const smarthost = await openCatcher({ waits: async () => await gate });
  const relay = await TestRelay.start([
    ...[`--forward-to=${smarthost.address}`, "--forward-on-disconnect", "--verbose"],
  ]);
  await sendMail(relay.port);
  await until(() => smarthost.messages.length === 1);
  await sendMail(relay.port);
  const busy = `[client disconnect]: still busy from last time: connected to ${smarthost.address}`;
  await until(
    () => relay.log.includes(busy),
    () => relay.log,
  );
  letGo();
  await until(() => relay.files().length === 0);
});

test("--forward-rate connects anew when the smarthost would not wait for so long", async () => {
  const inner = await openCatcher();
  const idleMs = 300;
  const server = createServer((near: Socket) => {
    const far = connect(inner.port, "127.0.0.1");
    near.pipe(far).pipe(near);
    near.setTimeout(idleMs, () => near.destroy());
    near.on("close", () => far.destroy()).on("error", () => far.destroy());
    far.on("close", () => near.destroy()).on("error", () => near.destroy());
  });
  after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const relay = await TestRelay.start([
    "--retry=1h",
    "--forward-rate=1/1s",
    `--forward-to=127.0.0.1:${port}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port);
  await inner.caught(1);
  await sendMail(relay.port);
  await sendMail(relay.port);
  await inner.caught(3);
  assert.doesNotMatch(relay.log, /deferred \[/);
});

test("SIGTERM does not wait for the turn of mail that --forward-rate holds back", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([
    "--retry=1h",
    "--forward-rate=1/1h",
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port);
  await smarthost.caught(1);
  await sendMail(relay.port);
  await until(() => relay.files().some((name) => name.endsWith(".busy")));
  const late = new Promise<string>((resolve) => {
    setTimeout(() => resolve("it still waits"), 15_000).unref();
  });
  assert.equal(await Promise.race([relay.end(), late]), 0);
  assert.equal(relay.files().filter((name) => name.endsWith(".envelope")).length, 1);
});

test("--as-client with --retry makes one attempt, and says 1 when mail has to wait", async () => {
  const smarthost = await openCatcher({ mail: () => "451 not now" });
  const spool = temporary();
  const submitted = await runProgram(
    "relayd-submit",
    ["--spool-dir", spool, "--from=alice@example.com", "bob@example.net"],
    { input: "Subject: x\r\n\r\nx\r\n" },
  );
  assert.equal(submitted.code, 0, submitted.stderr);
  const { code } = await runProgram("relayd", [
    `--as-client=${smarthost.address}`,
    `--spool-dir=${spool}`,
    "--retry=1s",
    "--no-syslog",
    "--user=root",
  ]);
  assert.equal(code, 1);
  assert.equal(smarthost.commands.filter((one) => one.startsWith("MAIL")).length, 1);
});
