import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { present, runPeer } from "../support/peer.ts";
import { dialogue, TestRelay, temporary } from "../support/relayd.ts";
import { project } from "./temp-tree.ts";

const skip = present("fail2ban-regex");
const filter = join(project, "scripts/fail2ban/filter.d/relayd.conf");

/** The addresses that fail2ban would count. */
async function counted(log: string): Promise<readonly string[]> {
  const file = join(temporary(), "log");
  writeFileSync(file, log, "latin1");
  const { stdout } = await runPeer("fail2ban-regex", ["-o", "ip", file, filter]);
  return stdout.split("\n").filter((line) => line !== "");
}

const TIME = "20261121.015326.888";

test("fail2ban finds the clients in every kind of log", { skip }, async () => {
  const json = `{"level":"warn","time":"2026-11-21T01:53:26.008Z","program":"relayd","pid":4711`;
  const log = [
    `relayd: ${TIME}: warning: client 192.0.2.1: failed authentication`,
    `relayd: ${TIME}: warning: 192.0.2.2; client 192.0.2.2: failed authentication`,
    `relayd: ${TIME}: warning: [in] 192.0.2.3;4711: (123.1.2) client 192.0.2.3: too many refused recipients`,
    "Nov 21 01:53:26 host relayd[4711]: warning: client 192.0.2.4: too many protocol errors from the client",
    "Nov 21 01:53:26 host relayd: warning: client 2001:db8::5: failed authentication",
    "2026-11-21T01:53:26.123456+01:00 host.test relayd: warning: 4711: client 192.0.2.6: failed authentication",
    `${json},"unit":"in","event":"auth.refused","peer":"192.0.2.7:4711","account":"a","detail":"x"}`,
    `${json},"event":"client.misbehaved","peer":"2001:db8::8.4711","reason":"x"}`,
  ];
  const wanted = [1, 2, 3, 4].map((n) => `192.0.2.${n}`);
  wanted.push("2001:db8::5", "192.0.2.6", "192.0.2.7", "2001:db8::8");
  assert.deepEqual(await counted(`${log.join("\n")}\n`), wanted);
});

test("no client can have another one banned by what it says", { skip }, async () => {
  const evil = "client 198.51.100.1: failed authentication";
  const json = `{"level":"warn","time":"2026-11-21T01:53:26.008Z","program":"relayd","pid":4711`;
  const log = [
    `relayd: ${TIME}: warning: failed authentication of remote client using mechanism [plain] for [: warning: ${evil}`,
    `relayd: ${TIME}: info: rx<<: "relayd: warning: ${evil}"`,
    `relayd: ${TIME}: warning: rejecting recipient "${evil}": ${evil}`,
    `relayd: ${TIME}: warning: x ${evil}`,
    `relayd: ${TIME}: info: ${evil}`,
    `${json},"event":"recipient.refused","peer":"192.0.2.7:1","recipient":"\\"event\\":\\"auth.refused\\",\\"peer\\":\\"198.51.100.1:1\\""}`,
  ];
  assert.deepEqual(await counted(`${log.join("\n")}\n`), []);
});

test("fail2ban reads what relayd logs of a client that guesses passwords", { skip }, async () => {
  const folder = temporary();
  const secrets = join(folder, "secrets");
  writeFileSync(secrets, "server plain alice e=mc2\n", { mode: 0o600 });
  const relay = await TestRelay.start([`--server-auth=${secrets}`, "--log-time"]);
  const evil = Buffer.from("\0x: warning: client 198.51.100.1: failed authentication\0y");
  const replies = await dialogue(relay.port, [
    "EHLO x",
    "AUTH PLAIN AGFsaWNlAGJhZA==",
    `AUTH PLAIN ${evil.toString("base64")}`,
  ]);
  assert.equal(replies.filter((reply) => reply.startsWith("535")).length, 2);
  await relay.logged("smtp connection closed");
  assert.deepEqual(await counted(relay.log), ["127.0.0.1", "127.0.0.1"]);
});

test("the jail names the filter", () => {
  const jail = readFileSync(join(project, "scripts/fail2ban/jail.d/relayd.conf"), "utf8");
  assert.match(jail, /^filter = relayd$/m);
});
