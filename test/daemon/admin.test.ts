import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import {
  canConnect,
  dialogue,
  runProgram,
  sendMail,
  TestRelay,
  temporary,
  until,
} from "../support/relayd.ts";

async function start(...args: readonly string[]) {
  const port = await freePort();
  const relay = await TestRelay.start([`--admin=${port}`, ...args]);
  await until(async () => await canConnect(port));
  const admin = async (...words: readonly string[]) =>
    await runProgram("relayd-admin", [`--connect=127.0.0.1:${port}`, ...words]);
  return { port, relay, admin };
}

test("--admin tells what is there, and unfail-all puts it back", async () => {
  const smarthost = await openCatcher({ rcpt: () => "550 no" });
  const { relay, admin, port } = await start(`--forward-to=${smarthost.address}`);
  assert.equal((await admin("list")).stdout, "<none>\n");
  await sendMail(relay.port);
  const id = relay.files()[0]?.replace(".content", "") ?? "";
  assert.equal((await admin("list")).stdout, `${id}\n`);
  const flushed = await admin("flush");
  assert.equal(flushed.code, 0, flushed.stderr);
  assert.equal((await admin("failures")).stdout, `${id}\n`);
  assert.equal((await admin("unfail-all")).code, 0);
  assert.equal((await admin("list")).stdout, `${id}\n`);
  const { stdout } = await admin("status");
  // SMTP is opened last, so that who waits for it finds the others open; the log names it first.
  const listening = [port, relay.port].map((one) => `LISTEN: 127.0.0.1:${one}\n`).join("");
  assert.ok(stdout.startsWith(listening), stdout);
  assert.match(relay.log, /: smtp server on 127.*\n.*: admin server on 127/);
  assert.match(stdout, /^OUT started: 1$/m);
  assert.equal((await admin("pid")).stdout, `${relay.child.pid}\n`);
});

test("flush waits until the mail is delivered, and says what went wrong", async () => {
  const smarthost = await openCatcher();
  const { relay, admin } = await start(`--forward-to=${smarthost.address}`);
  assert.equal((await admin("flush")).stderr.trim(), "relayd-admin: error: no messages to send");
  await sendMail(relay.port);
  assert.equal((await admin("flush")).stdout, "OK\n");
  assert.equal(smarthost.messages.length, 1);
  await sendMail(relay.port);
  await smarthost.close();
  const failed = await admin("flush");
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /error: connect failure: cannot connect to 127\.0\.0\.1/);
  assert.equal(relay.files().length, 2);
});

test("forward without a smarthost is an error", async () => {
  const { admin } = await start();
  const wanted = "relayd-admin: error: no remote server configured: use --forward-to";
  assert.equal((await admin("forward")).stderr.trim(), wanted);
  assert.equal((await admin("flush")).stderr.trim(), wanted);
});

test("notify tells what happens, in E-MailRelay's words", async () => {
  const smarthost = await openCatcher();
  const { relay, admin, port } = await start(`--forward-to=${smarthost.address}`);
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (data) => {
    text += data;
  });
  socket.write("notify\n");
  await sendMail(relay.port);
  const id = relay.files()[0]?.replace(".content", "") ?? "";
  await admin("forward");
  await until(
    () => text.includes("client: forward: end"),
    () => text,
  );
  socket.destroy();
  const events = [...text.matchAll(/EVENT: (.*?) {2}/g)].map(([, words]) => words);
  const client = events.filter((words) => words?.startsWith("client:"));
  assert.deepEqual(client, [
    "client: forward: start: admin",
    `client: connecting: ${smarthost.address}`,
    `client: sending: ${id}`,
    `client: connected: ${smarthost.address}`,
    `client: sent: ${id}`,
    "client: forward: end",
  ]);
  assert.ok(events.includes("network: out: start") && events.includes("network: out: stop"));
});

test("smtp disable turns clients away until smtp enable", async () => {
  const { relay, admin } = await start();
  assert.equal((await admin("smtp", "disable")).stdout, "OK\n");
  const replies = await dialogue(relay.port, ["EHLO x", "MAIL FROM:<a@b.test>"]);
  assert.ok(
    replies.some((line) => line.startsWith("421")),
    replies.join(" | "),
  );
  assert.equal((await admin("smtp", "enable")).stdout, "OK\n");
  assert.equal(await sendMail(relay.port), "250 message processed");
});

test("terminate is for those who may, and ends the program cleanly", async () => {
  const refused = await start();
  assert.equal(
    (await refused.admin("terminate")).stderr.trim(),
    "relayd-admin: error: unrecognised command",
  );
  const pidFile = join(temporary(), "pid");
  const { relay, admin } = await start("--admin-terminate", `--pid-file=${pidFile}`);
  await until(() => existsSync(pidFile));
  await admin("terminate");
  await until(() => relay.child.exitCode !== null);
  assert.equal(relay.child.exitCode, 0);
  assert.equal(existsSync(pidFile), false);
});

test("--interface=admin= puts administration on a unix socket of its own", async () => {
  const path = join(temporary(), "admin");
  const relay = await TestRelay.start(["--admin=0", `--interface=admin=${path}`]);
  const { stdout, stderr } = await runProgram("relayd-admin", [
    `--connect=${path}`,
    "info",
    "version",
  ]);
  assert.match(stdout, /\d+\.\d+/, stderr);
  assert.equal(await relay.end(), 0);
  assert.equal(existsSync(path), false);
});
