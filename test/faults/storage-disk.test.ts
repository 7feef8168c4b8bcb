import assert from "node:assert/strict";
import { closeSync, fsyncSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { cannotMount, cannotMountImage, mounted, mountedImage } from "../support/mounted.ts";
import { dialogue, sendMail, TestRelay, until } from "../support/relayd.ts";

const FULL = /^452 4\.3\.1 insufficient system storage$/;
const TROUBLE = /^451 4\.3\.0 local storage error$/;

/** A disk in memory, and one of blocks that are found a place late. */
const DISKS = [
  {
    name: "tmpfs",
    skip: cannotMount(),
    small: () => mounted("size=1m"),
    fewFiles: () => mounted("size=4m,nr_inodes=24"),
  },
  {
    name: "ext4",
    skip: cannotMountImage(),
    small: () => mountedImage({ megabytes: 8 }),
    fewFiles: () => mountedImage({ megabytes: 8, inodes: 32 }),
  },
] as const;

/** Takes all the room that there is. */
function fill(path: string): void {
  const fd = openSync(path, "w");
  for (const bytes of [1_000_000, 10_000, 100]) {
    assert.throws(() => {
      for (;;) writeSync(fd, Buffer.alloc(bytes));
    }, /ENOSPC/);
    fsyncSync(fd);
  }
  closeSync(fd);
}

for (const { name, skip, small, fewFiles } of DISKS) {
  test(`a full disk (${name}): 452, nothing left, and service resumes when there is room`, {
    skip,
  }, async () => {
    using disk = small();
    const relay = await TestRelay.start(["--spool-min-free=0"], { spool: disk.spool });
    const content = `${"x".repeat(70)}\r\n`.repeat(150_000);
    assert.match(await sendMail(relay.port, { content }), FULL);
    assert.deepEqual(relay.files(), []);
    const ballast = join(disk.spool, "ballast");
    fill(ballast);
    assert.match(await sendMail(relay.port), FULL);
    assert.deepEqual(relay.files(), ["ballast"]);
    rmSync(ballast);
    assert.match(await sendMail(relay.port), /^250 /);
    assert.equal(await relay.end(), 0);
  });

  for (const reserve of [[], ["--spool-min-free=0"]]) {
    test(`no inodes are left (${name}): 452, and service resumes (${reserve.join()})`, {
      skip,
    }, async () => {
      using disk = fewFiles();
      const relay = await TestRelay.start(reserve, { spool: disk.spool });
      const ballast = Array.from({ length: 99 }, (_, n) => join(disk.spool, `ballast-${n}`));
      assert.throws(() => {
        for (const path of ballast) writeFileSync(path, "");
      }, /ENOSPC/);
      const before = relay.files();
      const replies = await dialogue(relay.port, [
        ...["EHLO x", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA", "Subject: x\r\n\r\nx\r\n."],
      ]);
      assert.ok(replies.some((reply) => FULL.test(reply)));
      assert.deepEqual(relay.files(), before);
      for (const path of ballast) rmSync(path, { force: true });
      await until(async () => /^250 /.test(await sendMail(relay.port)));
    });
  }

  test(`the disk becomes read-only (${name}): 451, what waits stays, and both ways resume`, {
    skip,
  }, async () => {
    using disk = small();
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

  test(`the disk becomes read-only (${name}) while a message is on its way: it is not sent twice`, {
    skip,
  }, async () => {
    using disk = small();
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
}
