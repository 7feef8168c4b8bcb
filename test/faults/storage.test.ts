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

/** Real faults, where `injected.test.ts` has made up ones. */
const skip = cannotMount();

const FULL = /^452 4\.3\.1 insufficient system storage$/;
const TROUBLE = /^451 4\.3\.0 local storage error$/;

function limit(relay: TestRelay, what: string): void {
  const { status, stderr } = spawnSync("prlimit", [`--pid=${relay.child.pid}`, what]);
  assert.equal(status, 0, String(stderr));
}

test("a full disk: 452, nothing left, and service resumes when there is room", {
  skip,
}, async () => {
  using disk = mounted("size=1m");
  const relay = await TestRelay.start(["--spool-min-free=0"], { spool: disk.spool });
  const content = `${"x".repeat(70)}\r\n`.repeat(20_000);
  assert.match(await sendMail(relay.port, { content }), FULL);
  assert.deepEqual(relay.files(), []);
  const ballast = join(disk.spool, "ballast");
  // As much as there is.
  assert.throws(() => writeFileSync(ballast, Buffer.alloc(2_000_000)), /ENOSPC/);
  assert.match(await sendMail(relay.port), FULL);
  assert.deepEqual(relay.files(), ["ballast"]);
  rmSync(ballast);
  assert.match(await sendMail(relay.port), /^250 /);
  assert.equal(await relay.end(), 0);
});

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

for (const reserve of [[], ["--spool-min-free=0"]]) {
  test(`no inodes are left: 452, and service resumes (${reserve.join()})`, { skip }, async () => {
    using disk = mounted("size=4m,nr_inodes=24");
    const relay = await TestRelay.start(reserve, { spool: disk.spool });
    const names = Array.from({ length: 24 }, (_, n) => join(disk.spool, `ballast-${n}`));
    assert.throws(() => {
      for (const name of names) writeFileSync(name, "");
    }, /ENOSPC/);
    const before = relay.files();
    const replies = await dialogue(relay.port, [
      ...["EHLO x", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA", "Subject: x\r\n\r\nx\r\n."],
    ]);
    assert.ok(replies.some((reply) => FULL.test(reply)));
    assert.deepEqual(relay.files(), before);
    for (const name of names) rmSync(name, { force: true });
    await until(async () => /^250 /.test(await sendMail(relay.port)));
  });
}

test("the disk becomes read-only: 451, what waits stays, and both ways resume", {
  skip,
}, async () => {
  using disk = mounted("size=4m");
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`], {
    spool: disk.spool,
  });
  await sendMail(relay.port);
  const before = relay.files();
  disk.remount("ro");
  assert.match(await sendMail(relay.port), TROUBLE);
  relay.child.kill("SIGUSR1");
  await relay.logged("read-only file system");
  assert.deepEqual(relay.files(), before);
  disk.remount("rw");
  assert.match(await sendMail(relay.port), /^250 /);
  relay.child.kill("SIGUSR1");
  await smarthost.caught(2);
  await until(() => relay.files().length === 0);
  assert.equal(smarthost.messages.length, 2);
});

test("the disk becomes read-only while a message is on its way: it is not sent twice", {
  skip,
}, async () => {
  using disk = mounted("size=4m");
  const remounted: string[] = [];
  const smarthost = await openCatcher({
    dot: () => {
      if (remounted.length === 0) disk.remount("ro");
      remounted.push("ro");
      return undefined;
    },
  });
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`, "--poll=1"], {
    spool: disk.spool,
  });
  await sendMail(relay.port);
  await relay.logged("is delivered, but stays for now");
  disk.remount("rw");
  await until(() => relay.files().length === 0);
  assert.equal(smarthost.messages.length, 1);
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
