/** What is handed from a commit to a lease without reading it back. */
import assert from "node:assert/strict";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { silentJournal } from "../../src/core/events.ts";
import { type MessageId, parseMessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { openFileStore } from "../../src/spool/file-store.ts";
import { Fresh } from "../../src/spool/fresh.ts";
import { allBytes, storeMessage } from "../support/messages.ts";
import { temporarySpool } from "../support/relayd.ts";

const id = (n: number) => parseMessageId(`emailrelay.1.1.${n}`) ?? assert.fail();

const stamps = { content: "", envelope: "" };

function timed() {
  const time = { ms: 0 };
  return { time, fresh: new Fresh({ ...systemClock, monotonic: () => time.ms }) };
}

test("Fresh gives what was added, once", () => {
  const { fresh } = timed();
  const written = {
    content: Buffer.from("content"),
    contentBytes: 7,
    envelope: Buffer.from("envelope"),
    said: null,
    stamps,
  };
  fresh.add(id(1), written);
  assert.equal(fresh.take(id(1))?.content, written.content);
  assert.equal(fresh.take(id(1)), null);
  assert.equal(fresh.take(id(2)), null);
});

test("Fresh forgets what is older than a second", () => {
  const { time, fresh } = timed();
  fresh.add(id(1), {
    content: Buffer.alloc(1),
    contentBytes: 0,
    envelope: Buffer.alloc(1),
    said: null,
    stamps,
  });
  time.ms = 1001;
  assert.equal(fresh.take(id(1)), null);
});

test("Fresh keeps 8 MB at most, and makes room as it forgets", () => {
  const { time, fresh } = timed();
  const part = {
    content: Buffer.alloc(512 * 1024 - 1),
    contentBytes: 0,
    envelope: Buffer.alloc(1),
    said: null,
    stamps,
  };
  for (let n = 1; n <= 17; n++) fresh.add(id(n), part);
  assert.notEqual(fresh.take(id(16)), null);
  assert.equal(fresh.take(id(17)), null);
  fresh.add(id(18), { ...part, content: Buffer.alloc(600 * 1024) });
  assert.equal(fresh.take(id(18)), null, "too large a part");
  time.ms = 1001;
  for (let n = 21; n <= 36; n++) fresh.add(id(n), part);
  assert.notEqual(fresh.take(id(36)), null);
});

test("a lease that gives its files away reads them anew", async () => {
  const directory = temporarySpool();
  const store = await openFileStore({
    ...{ directory, sync: true, shared: false, journal: silentJournal, clock: systemClock },
  });
  const first = await storeMessage(store, "first\r\n");
  await using held = await store.lease(first);
  assert.equal(held?.envelope.from, "alice@example.com");
  await held?.complete();
  const second = await storeMessage(store, "second\r\n");
  await using lease = await store.lease(second);
  writeFileSync(join(directory, `${second}.content`), "edited\r\n");
  const read = async () => {
    await using content = await lease?.content();
    const chunks: Uint8Array[] = [];
    for await (const chunk of content?.bytes() ?? []) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  assert.equal(await read(), "second\r\n", "as it was written");
  lease?.files();
  assert.equal(await read(), "edited\r\n");
  await store.close();
});

test("what others have done to a message that has just come is what a lease has", async () => {
  const directory = temporarySpool();
  const path = (name: string) => join(directory, name);
  const store = await openFileStore({
    ...{ directory, sync: true, shared: false, journal: silentJournal, clock: systemClock },
  });
  await using held = await store.lease(await storeMessage(store, "first\r\n"));
  await held?.complete();
  const edit = (name: string, to: string, how: "in place" | "another") => {
    const text = readFileSync(path(name), "latin1").replace("alice", to);
    if (how === "another") writeFileSync(path(`${name}.tmp`), text);
    if (how === "another") renameSync(path(`${name}.tmp`), path(name));
    else writeFileSync(path(name), text);
  };
  const leased = async (id: MessageId) => {
    await using lease = await store.lease(id);
    await using content = await lease?.content();
    const bytes = content === undefined ? "" : await allBytes(content);
    const found = [lease?.envelope.from, bytes.toString()];
    await lease?.complete();
    return found;
  };
  for (const how of ["in place", "another"] as const) {
    for (const to of ["carol", "bobby"]) {
      // By the rules: under the lock.
      const one = await storeMessage(store, "alice\r\n");
      renameSync(path(`${one}.envelope`), path(`${one}.envelope.busy`));
      edit(`${one}.envelope.busy`, to, how);
      renameSync(path(`${one}.envelope.busy`), path(`${one}.envelope`));
      assert.deepEqual(await leased(one), [`${to}@example.com`, "alice\r\n"], how);
      const other = await storeMessage(store, "alice\r\n");
      edit(`${other}.content`, to, how);
      assert.deepEqual(await leased(other), ["alice@example.com", `${to}\r\n`], how);
    }
  }
  const gone = await storeMessage(store, "alice\r\n");
  rmSync(path(`${gone}.content`));
  await assert.rejects(leased(gone), { code: "CONTENT_MISSING" });
  await store.close();
});

test("a message that comes while a forwarder is at work is not read back, with or without the journal", async () => {
  const directory = temporarySpool();
  const disk = nodeDisk(directory);
  const opened: string[] = [];
  const store = await openFileStore({
    ...{ directory, sync: true, shared: false, journal: silentJournal, clock: systemClock },
    commits: {},
    disk: {
      ...disk,
      open: (name) => {
        opened.push(name);
        return disk.open(name);
      },
    },
  });
  const take = async () => {
    await using lease = await store.lease(await storeMessage(store, "x\r\n"));
    await using content = await lease?.content();
    assert.equal((await allBytes(content ?? assert.fail())).toString(), "x\r\n");
    await lease?.complete();
  };
  // Nobody knows before that there is a forwarder.
  await take();
  opened.length = 0;
  for (let n = 0; n < 3; n++) await take();
  assert.deepEqual(opened, []);
  await store.close();
});
