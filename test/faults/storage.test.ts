import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { cannotMount, mounted } from "../support/mounted.ts";
import { present } from "../support/peer.ts";
import { dialogue, sendMail, TestRelay, until } from "../support/relayd.ts";

/** Real faults, where `injected.test.ts` has made up ones; `storage-disk.test.ts` has those of whole disks. */
const skip = cannotMount();

const FULL = /^452 4\.3\.1 insufficient system storage$/;
const TROUBLE = /^451 4\.3\.0 local storage error$/;

function limit(relay: TestRelay, what: string): void {
  const { status, stderr } = spawnSync("prlimit", [`--pid=${relay.child.pid}`, what]);
  assert.equal(status, 0, String(stderr));
}

test("--spool-min-free refuses MAIL before the disk is full, by SIZE too", { skip }, async () => {
  using disk = mounted("size=8m");
  const relay = await TestRelay.start(["--spool-min-free=3"], { spool: disk.spool });
  const mail = async (size: number) => {
    const replies = await dialogue(relay.port, ["EHLO x", `MAIL FROM:<a@b.c> SIZE=${size}`]);
    return replies.at(-1);
  };
  assert.match((await mail(1000)) ?? "", /^250 /);
  assert.match((await mail(5_500_000)) ?? "", FULL);
  const ballast = join(disk.spool, "ballast");
  writeFileSync(ballast, Buffer.alloc(5_500_000));
  await until(async () => FULL.test((await mail(1000)) ?? ""));
  assert.match(relay.log, /no room in ".*": 2\.\d MB free of 3\.0 MB/);
  rmSync(ballast);
  await until(async () => /^250 /.test((await mail(1000)) ?? ""));
  assert.match(relay.log, /there is room in ".*" again/);
});

test("the default of --spool-min-free lets a small file system be used", { skip }, async () => {
  using disk = mounted("size=1m");
  const relay = await TestRelay.start([], { spool: disk.spool });
  assert.match(await sendMail(relay.port), /^250 /);
});

test("the spool directory is moved away: 451; it comes back: both ways resume", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  await sendMail(relay.port);
  const elsewhere = `${relay.spool}-elsewhere`;
  renameSync(relay.spool, elsewhere);
  assert.match(await sendMail(relay.port), TROUBLE);
  relay.child.kill("SIGUSR1");
  await relay.logged("cannot list");
  renameSync(elsewhere, relay.spool);
  assert.match(await sendMail(relay.port), /^250 /);
  relay.child.kill("SIGUSR1");
  await smarthost.caught(2);
  await until(() => relay.files().length === 0);
});

test("another directory takes the spool's place: relayd works in it, and registers there", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  await sendMail(relay.port);
  renameSync(relay.spool, `${relay.spool}-elsewhere`);
  mkdirSync(relay.spool);
  assert.match(await sendMail(relay.port), /^250 /);
  relay.child.kill("SIGUSR1");
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
  assert.equal(await relay.end(), 0);
});

test("a limit on the size of files: 452 for what is larger, 250 for the rest", {
  skip: present("prlimit"),
}, async () => {
  const relay = await TestRelay.start([]);
  limit(relay, "--fsize=300000:300000");
  const content = `${"x".repeat(70)}\r\n`.repeat(10_000);
  assert.match(await sendMail(relay.port, { content }), FULL);
  assert.deepEqual(relay.files(), []);
  assert.match(await sendMail(relay.port), /^250 /);
  assert.equal(await relay.end(), 0);
});

test("64 descriptors and 200 clients: no 250 without a message, and service resumes", {
  skip: present("prlimit"),
}, async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([
    ...[`--forward-to=${smarthost.address}`, "--max-connections-per-client=0"],
  ]);
  limit(relay, "--nofile=64:64");
  const sockets: Socket[] = [];
  after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const gone = Array.from({ length: 200 }, async () => {
    const socket = connect(relay.port, "127.0.0.1");
    sockets.push(socket);
    socket.on("error", () => undefined);
    // Greeted or refused: nobody is left waiting.
    await new Promise<void>((resolve) => {
      socket.once("data", () => resolve());
      socket.once("close", () => resolve());
    });
  });
  await Promise.all(gone);
  const reply = await sendMail(relay.port).catch(() => "");
  assert.doesNotMatch(reply, /^250/);
  relay.child.kill("SIGUSR1");
  for (const socket of sockets) socket.destroy();
  await until(async () => /^250 /.test(await sendMail(relay.port).catch(() => "")));
  relay.child.kill("SIGUSR1");
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
  assert.equal(await relay.end(), 0);
});
