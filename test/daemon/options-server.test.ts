/** Options of the SMTP server, each seen by what its clients are told. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { asClient } from "../interop/kept-mail.ts";
import { openCatcher } from "../support/catcher.ts";
import { present } from "../support/peer.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import {
  bin,
  dialogue,
  runProgram,
  sendMail,
  TestRelay,
  temporary,
  temporarySpool,
} from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";
import { makeTestCa } from "../support/test-ca.ts";

/** Every line of the answer to EHLO, without codes. */
async function ehlo(port: number): Promise<string[]> {
  await using client = await RawClient.connect(`127.0.0.1:${port}`);
  await client.reply();
  client.send("EHLO client.test\r\n");
  const lines: string[] = [];
  for (let line = await client.line(); lines.length < 50; line = await client.line()) {
    lines.push(line.slice(4));
    if (line.startsWith("250 ")) break;
  }
  return lines;
}

test("--size refuses what is announced to be longer, and what turns out to be", async () => {
  const relay = await TestRelay.start(["--size=1000"]);
  assert.ok((await ehlo(relay.port)).includes("SIZE 1000"));
  const announced = await dialogue(relay.port, ["EHLO c", "MAIL FROM:<a@b> SIZE=1001", "QUIT"]);
  assert.equal(announced[2], "552 message size exceeds fixed maximum message size");
  assert.match(await sendMail(relay.port, { content: "x".repeat(900) }), /^250 /);
  assert.match(await sendMail(relay.port, { content: "x".repeat(1100) }), /^552 /);
  assert.equal(relay.files().length, 2);
});

test("--anonymous hides our name from the greeting, EHLO and the content", async () => {
  const relay = await TestRelay.start(["--anonymous"]);
  const [greeting] = await dialogue(relay.port, ["QUIT"]);
  assert.doesNotMatch(greeting ?? "", /relay\.test|relayd/i);
  const lines = await ehlo(relay.port);
  assert.equal(lines[0], "smtp says hello");
  assert.ok(!lines.includes("VRFY"));
  await sendMail(relay.port);
  const name = relay.files().find((file) => file.endsWith(".content")) ?? "";
  assert.equal(readFileSync(join(relay.spool, name), "latin1"), "Subject: hello\r\n\r\nworld\r\n");
});

test("--idle-timeout disconnects a client that says nothing", async () => {
  const relay = await TestRelay.start(["--idle-timeout=1"]);
  const socket = connect(relay.port, "127.0.0.1");
  socket.resume();
  socket.setTimeout(20_000, () => socket.destroy(new Error("still connected")));
  await once(socket, "close");
  await relay.logged(/smtp connection closed: .*127\.0\.0\.1/);
});

test("--server-auth-config chooses mechanisms for the clear and for TLS", {
  skip: present("openssl"),
}, async () => {
  using ca = makeTestCa();
  const secrets = join(temporary(), "auth");
  writeFileSync(secrets, "server plain alice secret\n", { mode: 0o600 });
  const tls = [`--server-tls-certificate=${ca.issue("relay.test").combined}`, "--server-tls"];
  const relay = await TestRelay.start([
    `--server-auth=${secrets}`,
    "--server-auth-config=m:login;a:plain",
    ...tls,
  ]);
  assert.ok((await ehlo(relay.port)).includes("AUTH LOGIN"));
  const client = join(temporary(), "auth");
  writeFileSync(client, "client plain alice secret\n", { mode: 0o600 });
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const done = await asClient(
    `127.0.0.1:${relay.port}`,
    spool,
    "--client-tls",
    `--client-auth=${client}`,
  );
  assert.equal(done.code, 0, done.stderr);
  assert.match(relay.log, /using mechanism \[plain\]/);
});

test("--server-tls-verify admits only clients with a certificate of that authority", {
  skip: present("openssl"),
}, async () => {
  using ca = makeTestCa();
  using other = makeTestCa("another CA");
  const relay = await TestRelay.start([
    ...["--server-tls-connection", `--server-tls-verify=${ca.certificate}`],
    `--server-tls-certificate=${ca.issue("relay.test").combined}`,
  ]);
  const send = async (...options: readonly string[]) => {
    const spool = temporarySpool();
    putMessage(spool, "emailrelay.1.1.1");
    await asClient(`127.0.0.1:${relay.port}`, spool, "--client-tls-connection", ...options);
    return relay.files().filter((name) => name.endsWith(".envelope")).length;
  };
  assert.equal(await send(), 0);
  assert.equal(await send(`--client-tls-certificate=${other.issue("eve").combined}`), 0);
  assert.match(relay.log, /tls error/);
  assert.equal(await send(`--client-tls-certificate=${ca.issue("alice").combined}`), 1);
  const envelope = relay.files().find((name) => name.endsWith(".envelope")) ?? "";
  const text = readFileSync(join(relay.spool, envelope), "latin1");
  assert.match(text, /^X-MailRelay-ClientCertificate: -----BEGIN CERTIFICATE-----\r\n /m);
});

test("--tls-config sets the lowest version of the server and the highest of the client", {
  skip: present("openssl"),
}, async () => {
  using ca = makeTestCa();
  const relay = await TestRelay.start([
    ...["--server-tls-connection", "--tls-config=tlsv1.3"],
    `--server-tls-certificate=${ca.issue("relay.test").combined}`,
  ]);
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const address = `127.0.0.1:${relay.port}`;
  const old = await asClient(address, spool, "--client-tls-connection", "--tls-config=-tlsv1.2");
  assert.match(old.stderr, /tls error/);
  putMessage(spool, "emailrelay.1.1.2");
  const fresh = await asClient(address, spool, "--client-tls-connection", "--tls-config=");
  assert.equal(fresh.code, 0, fresh.stderr);
  assert.match(fresh.stderr, /tls protocol established with .* protocol TLSv1\.3/);
});

test("--no-smtp listens nowhere and still forwards by the clock", async () => {
  const smarthost = await openCatcher();
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const relay = await TestRelay.start(
    ["--no-smtp", "--poll=1", `--forward-to=${smarthost.address}`, `--spool-dir=${spool}`],
    { spool, port: smarthost.port, instances: true },
  );
  await smarthost.caught(1);
  assert.doesNotMatch(relay.log, /smtp server on/);
});

test("--dont-serve listens nowhere, and ends with nothing to do", async () => {
  const spool = temporarySpool();
  const { code, stderr } = await runProgram("relayd", [
    ...["--dont-serve", "--no-daemon", "--no-syslog", "--user=root", `--spool-dir=${spool}`],
  ]);
  assert.deepEqual([code, stderr], [0, "relayd: nothing to do\n"]);
});

/** A network of its own, in which 198.51.100.1 is this machine. */
const namespace = (): string | false => {
  const missing = present("unshare", "ip");
  if (missing !== false) return missing;
  const { status } = spawnSync("unshare", ["-n", "true"]);
  return status === 0 || process.env.CI === "true" ? false : "no network namespaces";
};

test("--remote-clients takes connections from everywhere, which are refused without it", {
  skip: namespace(),
}, async () => {
  const greeting = (...options: readonly string[]): string => {
    const spool = temporarySpool();
    const relayd = [
      ...[process.execPath, bin("relayd"), "--no-daemon", "--user=root", "--no-syslog", "--log"],
      ...["--interface=198.51.100.1", "--port=25", `--spool-dir=${spool}`, ...options],
    ];
    // Prints what the server says first, "" if it closes.
    const client =
      "let tries = 0; const go = () => { const c = require('net').connect(25, '198.51.100.1');" +
      "c.once('data', (d) => { process.stdout.write(d); c.destroy(); }); c.on('end', () => c.destroy());" +
      "c.on('error', () => { if (++tries > 400) process.exit(3); setTimeout(go, 50); }); }; go();";
    const script =
      'ip link set lo up; ip addr add 198.51.100.1/32 dev lo; client=$1; shift; "$@" & pid=$!; ' +
      `"${process.execPath}" -e "$client"; kill $pid; wait $pid`;
    const done = spawnSync("unshare", ["-n", "sh", "-c", script, "sh", client, ...relayd], {
      encoding: "latin1",
      timeout: 60_000,
    });
    return done.stdout + done.stderr.replace(/^.*info.*\n/gm, "");
  };
  assert.match(greeting("--remote-clients"), /^220 /);
  assert.match(greeting(), /configured to reject non-local smtp connection/);
});

test("--interface, --port and --domain say where it listens and what it is called", async () => {
  const directory = temporary();
  const socket = join(directory, "smtp");
  const relay = await TestRelay.start([`--interface=${socket}`]);
  await using client = await RawClient.connect(socket);
  assert.match(await client.reply(), /^220 relay\.test /);
  assert.match((await dialogue(relay.port, ["QUIT"]))[0] ?? "", /^220 relay\.test /);
});
