import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "../support/catcher.ts";
import {
  canConnect,
  runProgram,
  sendMail,
  TestRelay,
  temporary,
  temporarySpool,
  until,
} from "../support/relayd.ts";

function secrets(): string {
  const path = join(temporary(), "pop.auth");
  writeFileSync(path, "server plain joe secret\nserver plain ann geheim\n", { mode: 0o600 });
  return path;
}

/** Speaks POP line by line; a reply may have several lines. Resolves to all that came. */
async function pop(port: number, ...commands: readonly string[]): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  const rest = [...commands];
  socket.setEncoding("latin1");
  return await new Promise((resolve, reject) => {
    socket.setTimeout(20_000, () => reject(new Error(`no reply after: ${text}`)));
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    socket.on("data", (data) => {
      text += data;
      const next = rest.shift();
      if (next === undefined) socket.end();
      else socket.write(`${next}\r\n`);
    });
  });
}

async function start(...args: readonly string[]) {
  const port = await freePort();
  const spool = temporarySpool();
  const options = ["--pop", `--pop-port=${port}`, `--pop-auth=${secrets()}`, ...args];
  const relay = await TestRelay.start(options, { spool });
  await until(async () => await canConnect(port));
  return { port, spool, relay };
}

test("--pop serves the spool, and what is deleted is gone after QUIT", async () => {
  const { port, relay } = await start();
  await sendMail(relay.port);
  const text = await pop(port, "USER joe", "PASS secret", "RETR 1", "DELE 1", "QUIT");
  assert.match(text, /^\+OK POP3 server ready <.*>\r\n/);
  assert.match(text, /Subject: hello\r\n\r\nworld\r\n\.\r\n/);
  assert.match(text, /\+OK signing off\r\n$/);
  assert.deepEqual(relay.files(), []);
  assert.match(relay.log, /pop server on 127\.0\.0\.1:/);
  assert.match(relay.log, /pop server authentication secrets from "/);
  assert.match(relay.log, /pop connection from 127\.0\.0\.1/);
});

test("--pop lets nobody in with a wrong password", async () => {
  const { port } = await start();
  const text = await pop(port, "USER joe", "PASS wrong", "STAT", "QUIT");
  assert.match(text, /\+OK user: joe\r\n-ERR\r\n-ERR/);
});

test("--pop-no-delete keeps what clients delete", async () => {
  const { port, relay } = await start("--pop-no-delete");
  await sendMail(relay.port);
  await pop(port, "USER joe", "PASS secret", "DELE 1", "QUIT");
  assert.equal(relay.files().length, 2);
});

test("--pop-by-name gives each account a directory, with the content shared by copy:pop", async () => {
  const { port, relay, spool } = await start("--pop-by-name", "--filter=copy:pop");
  mkdirSync(join(spool, "ann"));
  assert.match(await pop(port, "USER joe", "PASS secret", "STAT", "QUIT"), /\+OK 0 0\r\n/);
  await sendMail(relay.port);
  assert.match(
    await pop(port, "USER joe", "PASS secret", "STAT", "DELE 1", "QUIT"),
    /\+OK 1 \d+\r\n/,
  );
  assert.equal(readdirSync(join(spool, "ann")).length, 1);
  assert.equal(relay.files().filter((name) => name.endsWith(".content")).length, 1);
  await pop(port, "USER ann", "PASS geheim", "DELE 1", "QUIT");
  assert.deepEqual(relay.files(), ["ann", "joe"]);
});

test("--no-smtp leaves POP alone", async () => {
  const port = await freePort();
  const spool = temporarySpool();
  const relay = await TestRelay.start(
    [
      ...["--no-smtp", "--pop", `--pop-port=${port}`, `--pop-auth=${secrets()}`],
      ...[`--spool-dir=${spool}`, "--domain=relay.test", "--interface=127.0.0.1"],
    ],
    { port, instances: true },
  );
  assert.match(await pop(port, "QUIT"), /^\+OK POP3/);
  assert.equal(await relay.end(), 0);
});

test("--pop needs secrets", async () => {
  const { code, stderr } = await runProgram("relayd", ["--as-server", "--pop"]);
  assert.equal(code, 1);
  assert.match(stderr, /the --pop option requires --pop-auth/);
});
