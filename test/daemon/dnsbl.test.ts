import assert from "node:assert/strict";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { freePort } from "../support/catcher.ts";
import { DnsServer, deadServer, nxdomain, zone } from "../support/dns-server.ts";
import { runProgram, sendMail, TestRelay } from "../support/relayd.ts";

/** An address of this machine that does not count as local: connecting to it stays inside the machine. */
function publicAddress(): string | null {
  const local = /^(?:127|10|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))\./;
  const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return (
    all.find(({ family, address }) => family === "IPv4" && !local.test(address))?.address ?? null
  );
}

const here = publicAddress();
const skip = here === null ? "this machine has only private addresses" : false;
const address = here ?? "";
const listed = `${address.split(".").reverse().join(".")}.bl.test`;

async function start(dnsbl: string, ...more: readonly string[]): Promise<TestRelay> {
  return await TestRelay.start(["-r", `--interface=${address}`, `--dnsbl=${dnsbl}`, ...more]);
}

/** The first line that a client gets, having said something too early; "" when it is closed before. */
async function greeting(port: number): Promise<string> {
  const socket = connect(port, address);
  socket.write("EHLO early.test\r\n");
  return await new Promise((resolve, reject) => {
    socket.setTimeout(20_000, () => reject(new Error("no greeting")));
    // A client that was not waited for is reset when it is turned away.
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ECONNRESET") reject(error);
    });
    socket.on("data", (data) => {
      resolve(String(data));
      socket.destroy();
    });
    socket.on("close", () => resolve(""));
  });
}

test("--dnsbl does not look up local clients", async () => {
  await using dns = await DnsServer.start(() => nxdomain);
  const relay = await TestRelay.start(["-r", `--dnsbl=bl.test,1,2000,${dns.address}`]);
  assert.equal(await sendMail(relay.port), "250 message processed");
  assert.deepEqual(dns.asked, []);
});

test("--dnsbl closes a listed client without a word", { skip }, async () => {
  await using dns = await DnsServer.start(zone(`${listed} A 127.0.0.2`));
  const relay = await start(`bl.test,1,5000,${dns.address}`);
  assert.equal(await greeting(relay.port), "");
  assert.deepEqual(dns.asked, [`A ${listed}`]);
  await relay.logged(/dnsbl: connection from \[.*\] denied/);
});

test("--dnsbl serves who is not listed, and throws away what was said too early", {
  skip,
}, async () => {
  await using dns = await DnsServer.start(() => nxdomain);
  const relay = await start(`bl.test,1,5000,${dns.address}`);
  assert.match(await greeting(relay.port), /^220 [^\r]*\r\n$/);
});

test("--dnsbl counts votes, and error answers of a list are none", { skip }, async () => {
  const other = listed.replace("bl.test", "two.test");
  await using dns = await DnsServer.start(
    zone(`${listed} A 127.0.0.2`, `${other} A 127.255.255.254`),
  );
  const one = await start(`bl.test,two.test,2,5000,${dns.address}`);
  assert.match(await greeting(one.port), /^220 /);
  const none = await start(`bl.test,0,5000,${dns.address}`);
  assert.match(await greeting(none.port), /^220 /);
});

test("--dnsbl decides by the sign of its timeout when nobody answers", { skip }, async () => {
  const dead = await deadServer();
  assert.match(await greeting((await start(`bl.test,1,300,${dead}`)).port), /^220 /);
  assert.equal(await greeting((await start(`bl.test,1,-300,${dead}`)).port), "");
  await using silent = await DnsServer.start(() => null);
  assert.match(await greeting((await start(`bl.test,1,300,${silent.address}`)).port), /^220 /);
});

test("dnsbl stop lets clients in until dnsbl start", { skip }, async () => {
  await using dns = await DnsServer.start(zone(`${listed} A 127.0.0.2`));
  const admin = await freePort();
  const relay = await start(`bl.test,1,5000,${dns.address}`, `--admin=${admin}`);
  const tell = async (...words: readonly string[]) =>
    await runProgram("relayd-admin", [`--connect=127.0.0.1:${admin}`, ...words]);
  assert.equal((await tell("dnsbl", "stop", "60")).stdout, "OK\n");
  assert.match(await greeting(relay.port), /^220 /);
  assert.equal((await tell("dnsbl", "start")).stdout, "OK\n");
  assert.equal(await greeting(relay.port), "");
});

test("--dnsbl says what is wrong with its value at start", async () => {
  const { code, stderr } = await runProgram("relayd", [
    ...["--no-daemon", "-r", `--port=${await freePort()}`, "--user=root", "--spool-dir=/tmp"],
    "--dnsbl=bl.test,1,x",
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /invalid dnsbl configuration: .*"x"/);
});
