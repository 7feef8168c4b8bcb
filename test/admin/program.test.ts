/** relayd-admin, the real program, against the admin server. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { configuredPlace, parsePlace } from "../../src/admin/where.ts";
import { id, testAdmin } from "../support/admin.ts";
import { freePort } from "../support/catcher.ts";
import { bin, type Ran, runProgram, temporary, until } from "../support/relayd.ts";

const run = async (...args: readonly string[]): Promise<Ran> =>
  await runProgram("relayd-admin", args);

const printed = (stdout: string): Ran => ({ code: 0, stdout, stderr: "" });
const failed = (why: string): Ran => ({ code: 1, stdout: "", stderr: `relayd-admin: ${why}\n` });

/** A server that says something of its own to whoever connects, and closes. */
async function talker(text: string, close: boolean): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    if (close) socket.end(text);
    else socket.write(text);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => server.close());
  const address = server.address();
  return `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

test("relayd-admin prints the reply without prompt, and exits with 0", async () => {
  await using admin = await testAdmin();
  admin.control.waiting = ["one", "two"];
  assert.deepEqual(await run("--connect", admin.address, "list"), printed("one\ntwo\n"));
  assert.deepEqual(await run("-c", admin.address, "INFO", "version"), printed("2.6b\n"));
  assert.deepEqual(await run("-c", admin.address, "smtp disable"), printed("OK\n"));
  assert.deepEqual(await run("-c", admin.address, "unfail-all"), printed(""));
  assert.deepEqual(admin.control.asked, ["smtp false"]);
});

test("relayd-admin prints a list of any length whole", async () => {
  await using admin = await testAdmin();
  admin.control.waiting = Array.from({ length: 50_000 }, (_, n) => `emailrelay.1.1795226072.${n}`);
  const ran = await run("-c", admin.address, "list");
  assert.deepEqual(ran, printed(`${admin.control.waiting.join("\n")}\n`));
});

test("relayd-admin exits with 1 when the server says error or usage", async () => {
  await using admin = await testAdmin({ terminate: false });
  const unknown = failed("error: unrecognised command");
  assert.deepEqual(await run("-c", admin.address, "nonsense"), unknown);
  assert.deepEqual(await run("-c", admin.address, "terminate"), unknown);
  const usage = failed("usage: dnsbl {start|stop <timeout>}");
  assert.deepEqual(await run("-c", admin.address, "dnsbl"), usage);
});

test("relayd-admin flush waits for the end of the run, and tells how it ended", async () => {
  await using admin = await testAdmin();
  const { flushes } = admin.control;
  const good = run("-c", admin.address, "flush");
  await until(() => flushes.length === 1);
  flushes[0]?.({ tried: 1, error: null });
  assert.deepEqual(await good, printed("OK\n"));
  const bad = run("-c", admin.address, "flush");
  await until(() => flushes.length === 2);
  flushes[1]?.({ tried: 1, error: "cannot connect" });
  assert.deepEqual(await bad, failed("error: cannot connect"));
});

test("relayd-admin terminate exits with 0 when the server has closed", async () => {
  await using admin = await testAdmin();
  assert.deepEqual(await run("-c", admin.address, "terminate"), printed(""));
  assert.deepEqual(admin.control.asked, ["terminate"]);
});

test("relayd-admin notify prints each event at once, until the server is gone", async () => {
  await using admin = await testAdmin();
  const child = spawn(process.execPath, [bin("relayd-admin"), "-c", admin.address, "notify"]);
  after(() => child.kill());
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data: Buffer) => {
      output += data.toString();
    });
  }
  // It has asked for events when it gets the first one.
  await until(() => {
    admin.control.tell({ kind: "forward.requested", reason: "poll" });
    return output.startsWith("EVENT: client: forward: start: poll\n");
  });
  output = "";
  admin.control.tell({ kind: "forward.abandoned", id: id("one") });
  await until(() => output.endsWith("EVENT: client: sent: one: abandoned\n"));
  const ended = once(child, "exit");
  await admin.server.close();
  assert.deepEqual(await ended, [1, null]);
  await until(() => output.endsWith(`relayd-admin: ${admin.address} has closed the connection\n`));
});

test("relayd-admin says what is wrong with a connection", async () => {
  const closed = `127.0.0.1:${await freePort()}`;
  const refused = failed(`cannot connect to ${closed}: connection refused`);
  assert.deepEqual(await run("-c", closed, "list"), refused);
  const gone = await talker("half an answer\n", true);
  assert.deepEqual(await run("-c", gone, "list"), failed(`${gone} has closed the connection`));
  const smtp = await talker("220 relay -- Service ready\r\n", false);
  for (const command of ["flush", "notify"]) {
    const ran = await run("-c", smtp, command);
    assert.equal(ran.code, 1);
    assert.equal(ran.stderr, `relayd-admin: ${smtp} is not an admin server\n`);
  }
  const path = join(temporary(), "nothing");
  const missing = failed(`cannot connect to ${path}: no such file or directory`);
  assert.deepEqual(await run("-c", path, "list"), missing);
});

test("relayd-admin finds the server in a configuration file, on a unix socket too", async () => {
  const directory = temporary();
  const socket = join(directory, "admin.sock");
  const config = join(directory, "relayd.conf");
  await using admin = await testAdmin({ interfaces: [{ kind: "unix", path: socket }] });
  admin.control.waiting = ["here"];
  writeFileSync(config, `port 25\ninterface smtp=127.0.0.1,admin=${socket}\nadmin 10026\n`);
  assert.deepEqual(await run("--config", config, "list"), printed("here\n"));
  assert.deepEqual(await run("--connect", socket, "list"), printed("here\n"));
  writeFileSync(config, "port 25\n");
  assert.deepEqual(await run("-C", config, "list"), failed(`no admin option in ${config}`));
  const none = join(directory, "none");
  assert.deepEqual(await run("-C", none, "list"), failed(`no such file: ${none}`));
});

test("configuredPlace takes the first instance with an admin server, and its own addresses", () => {
  const place = (text: string) =>
    configuredPlace(
      text.split(" ").map((item) => {
        const [name = "", value = null] = item.split(/=(.*)/s);
        return { name, value };
      }),
    );
  const at = (host: string, port = 26) => ({ host, port });
  assert.deepEqual(place("admin=26"), at("127.0.0.1"));
  assert.deepEqual(place("interface=0.0.0.0 admin=26"), at("127.0.0.1"));
  assert.deepEqual(place("interface=:: admin=26"), at("::1"));
  assert.deepEqual(place("interface=smtp=10.0.0.1,[fe80::1%eth0] admin=26"), at("fe80::1%eth0"));
  assert.deepEqual(place("interface=pop=10.0.0.1 interface=10.0.0.2 admin=26"), at("10.0.0.2"));
  assert.deepEqual(place("interface=fd#3 admin=26"), at("127.0.0.1"));
  assert.deepEqual(place("interface=dead-ipv4 admin=26"), at("127.0.0.1"));
  assert.deepEqual(
    place("interface=9.9.9.9 in-interface=::2 in-admin=27 out-admin=28"),
    at("::2", 27),
  );
  assert.equal(place("port=25 admin"), null);
});

test("parsePlace understands addresses, ports and paths, and no proxies", () => {
  assert.deepEqual(parsePlace("10026"), { host: "127.0.0.1", port: 10026 });
  assert.deepEqual(parsePlace("relay.example:26"), { host: "relay.example", port: 26 });
  assert.deepEqual(parsePlace("[::1]:26"), { host: "::1", port: 26 });
  assert.deepEqual(parsePlace("/run/admin"), { kind: "unix", path: "/run/admin" });
  assert.equal(parsePlace("host:26@proxy:1080"), null);
  assert.equal(parsePlace("relay"), null);
});

test("relayd-admin explains itself", async () => {
  const help = await run("--help");
  assert.equal(help.code, 0);
  assert.match(help.stdout, /^usage: relayd-admin \[--connect <address>\]/);
  const usage =
    "usage: relayd-admin [--connect <address>] [--config <file>] <command> [<word> ...]";
  assert.deepEqual(await run(), failed(`what to do?\n${usage}`));
  assert.deepEqual(await run("--nope", "list"), failed(`unknown option '--nope'\n${usage}`));
  assert.deepEqual(await run("list\nterminate"), failed("control character in the command"));
  const address = failed('cannot connect to "x": expected host:port, a port, or a path');
  assert.deepEqual(await run("--connect", "x", "list"), address);
});
