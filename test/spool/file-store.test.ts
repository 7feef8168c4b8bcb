/** FileStore on a real directory: names, modes and what others put there. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { type MessageId, parseMessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { allBytes, anEnvelope, storeMessage } from "../support/messages.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

function id(text: string): MessageId {
  return parseMessageId(text) ?? assert.fail();
}

function putMessage(spool: TempSpool, name: string): MessageId {
  spool.put(`${name}.content`, "Subject: x\r\n\r\nx\r\n");
  spool.put(`${name}.envelope`, encodeEnvelope(anEnvelope, ""));
  return id(name);
}

test("a committed message has E-MailRelay's names and bytes, and mode 0660 whatever the umask", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const before = process.umask(0o077);
  const stored = await storeMessage(store, "x");
  process.umask(before);
  assert.match(stored, new RegExp(`^emailrelay\\.${process.pid}\\.\\d{10}\\.1$`));
  assert.deepEqual(spool.names(), [`${stored}.content`, `${stored}.envelope`]);
  assert.ok(spool.read(`${stored}.envelope`).equals(encodeEnvelope(anEnvelope, "")));
  for (const name of spool.names()) {
    assert.equal(statSync(join(spool.directory, name)).mode & 0o777, 0o660);
  }
});

test("create() takes the next number when a file of that name exists or the clock goes back", async () => {
  await using spool = await tempSpool();
  const times = [5000, 5000, 3000];
  const store = await spool.open({
    recover: false,
    clock: { ...systemClock, now: () => times.shift() ?? 5000 },
  });
  spool.put(`emailrelay.${process.pid}.5.1.content`, "");
  await using first = await store.create();
  await using second = await store.create();
  assert.equal(first.id, `emailrelay.${process.pid}.5.2`);
  assert.equal(second.id, `emailrelay.${process.pid}.5.3`);
});

test("create() takes no id that an earlier process of the same pid can have made, though the clock has gone back", async () => {
  await using spool = await tempSpool();
  const { pid } = process;
  spool.put(`emailrelay.${pid}.5.8.envelope.bad`, "has lost its content");
  spool.put(`emailrelay.${pid}.4000000000.3.envelope`, "from a time to come");
  spool.put(`emailrelay.${pid + 1}.5.9.envelope`, "another's");
  spool.put(`emailrelay.${pid}.5.1234567890123456.envelope`, "no count");
  const store = await spool.open({ clock: { ...systemClock, now: () => 5000 } });
  await using draft = await store.create();
  assert.equal(draft.id, `emailrelay.${pid}.5.9`);
});

test("a disposed draft leaves nothing", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  {
    await using draft = await store.create();
    await draft.write(Buffer.from("x"));
    await draft.seal(anEnvelope);
    assert.equal(spool.names().length, 2);
  }
  assert.deepEqual(spool.names(), []);
});

test("seal() refuses an envelope that would forge lines, and leaves nothing", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  await using draft = await store.create();
  const forged = { ...emptyEnvelope, from: "a@b\r\nX-MailRelay-End: 1" };
  await assert.rejects(draft.seal(forged), { code: "ENVELOPE_SYNTAX" });
  assert.deepEqual(spool.names(), []);
});

test("seal() refuses an envelope that could not be read again, and leaves nothing", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const toRemote = Array.from({ length: 16 }, () => "x".repeat(1024 * 1024 - 25));
  const most = { ...emptyEnvelope, toRemote };
  await using draft = await store.create();
  await assert.rejects(draft.seal(most), { code: "ENVELOPE_SYNTAX", message: /too many/ });
  assert.deepEqual(spool.names(), []);
  const id = await storeMessage(store, "x", { ...most, toRemote: toRemote.slice(1) });
  await using lease = await store.lease(id);
  assert.equal(lease?.envelope.toRemote.length, 15);
});

test("commit() takes what a filter left in place of the files", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  await using draft = await store.create();
  await draft.write(Buffer.from("before"));
  await draft.seal(anEnvelope);
  const files = draft.files();
  writeFileSync(`${files.content}.x`, "after");
  renameSync(`${files.content}.x`, files.content);
  writeFileSync(files.envelope, encodeEnvelope({ ...anEnvelope, forwardTo: "x" }, ""));
  assert.equal((await draft.reread()).forwardTo, "x");
  await draft.commit();
  await using lease = await store.lease(draft.id);
  assert.equal(lease?.envelope.forwardTo, "x");
  assert.equal(spool.read(`${draft.id}.content`).toString(), "after");
});

test("commit() throws CONTENT_MISSING when a filter has deleted the files, and leaves nothing", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  await using draft = await store.create();
  await draft.seal(anEnvelope);
  rmSync(draft.files().envelope);
  await assert.rejects(draft.commit(), { code: "CONTENT_MISSING" });
  assert.deepEqual(spool.names(), []);
});

test("commitIfLeft() commits what is left and leaves alone what a filter has taken", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  await using kept = await store.create();
  await kept.seal(anEnvelope);
  assert.equal(await kept.commitIfLeft(), true);
  await using taken = await store.create();
  await taken.seal(anEnvelope);
  rmSync(taken.files().envelope);
  assert.equal(await taken.commitIfLeft(), false);
  // The content may be in use by a mailbox below (copy:pop).
  assert.ok(spool.names().includes(`${taken.id}.content`));
  assert.deepEqual(await store.ready(), [kept.id]);
});

test("fail() appends the reason in the file's own line ends and keeps every other byte", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const golden = join(import.meta.dirname, "../../../test/spool/golden/format-3-lf.envelope");
  const old = `${readFileSync(golden, "latin1")}X-Filter: kept \xff\n`;
  spool.put("emailrelay.1.2.3.content", "x");
  spool.put("emailrelay.1.2.3.envelope", Buffer.from(old, "latin1"));
  {
    await using lease = await store.lease(id("emailrelay.1.2.3"));
    assert.ok(lease !== null);
    await lease.fail({ text: "a\nb", code: 0, recipients: lease.envelope.toRemote });
  }
  assert.deepEqual(spool.names(), ["emailrelay.1.2.3.content", "emailrelay.1.2.3.envelope.bad"]);
  const expected = `${old}X-MailRelay-Reason: a\\nb\nX-MailRelay-ReasonCode:\n`;
  assert.equal(spool.read("emailrelay.1.2.3.envelope.bad").toString("latin1"), expected);
});

test("fail() keeps only the recipients that it is told", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const stored = await storeMessage(store, "x");
  {
    await using lease = await store.lease(stored);
    await lease?.fail({ text: "no", code: 452, recipients: ["bob@example.net"] });
  }
  const trailer = ["X-MailRelay-Reason: no", "X-MailRelay-ReasonCode: 452"];
  const expected = { ...anEnvelope, toRemote: ["bob@example.net"], trailer };
  assert.ok(spool.read(`${stored}.envelope.bad`).equals(encodeEnvelope(expected, "")));
});

test("fail() counts: a message that failed and was resubmitted has both reasons", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const stored = await storeMessage(store, "x");
  for (let n = 0; n < 2; n++) {
    await using lease = await store.lease(stored);
    assert.ok(lease !== null);
    await lease.fail({ text: "no", code: 550, recipients: lease.envelope.toRemote });
    assert.deepEqual(store.failures(), [stored]);
    assert.equal(store.unfail(stored), true);
  }
  assert.deepEqual(await store.ready(), [stored]);
  const reasons = spool
    .read(`${stored}.envelope`)
    .toString()
    .match(/MailRelay-Reason:/g);
  assert.equal(reasons?.length, 2);
});

test("ready() finds what other programs put there, and says so to nobody twice", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  assert.deepEqual(await store.ready(), []);
  putMessage(spool, "emailrelay.001");
  spool.put("emailrelay.2.2.2.envelope.new", "");
  spool.put("emailrelay.2.2.3.envelope.bad", "");
  await store.rescan();
  assert.deepEqual(await store.ready(), ["emailrelay.001"]);
});

test("a watching store finds a resubmitted message at once and hints at it", async () => {
  await using spool = await tempSpool();
  const store = await spool.open({ watch: true });
  const controller = new AbortController();
  const changes = store.changes(controller.signal)[Symbol.asyncIterator]();
  const hint = changes.next();
  putMessage(spool, "emailrelay.1.1.1");
  await hint;
  assert.deepEqual(await store.ready(), ["emailrelay.1.1.1"]);
  renameSync(
    join(spool.directory, "emailrelay.1.1.1.envelope"),
    join(spool.directory, "emailrelay.1.1.2.envelope"),
  );
  assert.ok((await store.ready()).includes(id("emailrelay.1.1.2")));
  controller.abort();
});

test("an unreadable envelope is left as it is, named once, and taken when it was mended", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  spool.put("emailrelay.1.1.1.content", "x");
  spool.put("emailrelay.1.1.1.envelope", "X-MailRelay-Format: #2821.99\r\n");
  for (let n = 0; n < 3; n++) {
    await store.rescan();
    assert.equal(await store.lease(id("emailrelay.1.1.1")), null);
  }
  const path = join(spool.directory, "emailrelay.1.1.1.envelope");
  assert.deepEqual(spool.warnings(), [
    `ignoring "${path}": cannot read envelope file: unknown format id: #2821.99`,
  ]);
  assert.deepEqual(spool.names(), ["emailrelay.1.1.1.content", "emailrelay.1.1.1.envelope"]);
  spool.put("emailrelay.1.1.1.envelope", encodeEnvelope(anEnvelope, ""));
  await using lease = await store.lease(id("emailrelay.1.1.1"));
  assert.ok(lease !== null);
});

test("a fifo, a link and a directory named like envelopes are never opened, and named once", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const stored = await storeMessage(store, "x");
  execFileSync("mkfifo", [join(spool.directory, "a.envelope")]);
  mkdirSync(join(spool.directory, "b.envelope"));
  symlinkSync(join(spool.directory, `${stored}.envelope`), join(spool.directory, "c.envelope"));
  const before = spool.names();
  for (let n = 0; n < 2; n++) {
    await store.rescan();
    for (const one of ["a", "b", "c"]) assert.equal(await store.lease(id(one)), null);
  }
  assert.equal(spool.warnings().length, 3);
  for (const text of spool.warnings()) assert.match(text, /not a regular file$/);
  assert.deepEqual(spool.names(), before);
  await using lease = await store.lease(stored);
  assert.ok(lease !== null);
});

test("an envelope that becomes a link, a fifo or a directory after it was listed is put back, and named once", async () => {
  await using spool = await tempSpool();
  const outside = join(spool.directory, "outside");
  writeFileSync(outside, encodeEnvelope(anEnvelope, ""));
  for (const name of ["a", "b", "c", "d"])
    spool.put(`${name}.envelope`, encodeEnvelope(anEnvelope, ""));
  const store = await spool.open();
  assert.deepEqual(await store.ready(), ["a", "b", "c", "d"]);
  for (const name of ["a", "b", "c"]) rmSync(join(spool.directory, `${name}.envelope`));
  execFileSync("mkfifo", [join(spool.directory, "a.envelope")]);
  mkdirSync(join(spool.directory, "b.envelope"));
  symlinkSync(outside, join(spool.directory, "c.envelope"));
  const before = spool.names();
  for (let n = 0; n < 2; n++) {
    for (const one of ["a", "b", "c"]) assert.equal(await store.lease(id(one)), null);
  }
  assert.deepEqual(spool.names(), before);
  assert.equal(spool.warnings().length, 3);
  await using lease = await store.lease(id("d"));
  assert.ok(lease !== null);
});

test("content that is a link or a fifo counts as missing; a hard link is content", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const outside = join(spool.directory, "secret");
  writeFileSync(outside, "secret");
  for (const name of ["emailrelay.1.1.1", "emailrelay.1.1.2", "emailrelay.1.1.3"]) {
    spool.put(`${name}.envelope`, encodeEnvelope(anEnvelope, ""));
  }
  symlinkSync(outside, join(spool.directory, "emailrelay.1.1.1.content"));
  execFileSync("mkfifo", [join(spool.directory, "emailrelay.1.1.2.content")]);
  linkSync(outside, join(spool.directory, "emailrelay.1.1.3.content"));
  await using first = await store.lease(id("emailrelay.1.1.1"));
  await using second = await store.lease(id("emailrelay.1.1.2"));
  await using third = await store.lease(id("emailrelay.1.1.3"));
  await assert.rejects(first?.content() ?? assert.fail(), { code: "CONTENT_MISSING" });
  await assert.rejects(second?.content() ?? assert.fail(), { code: "CONTENT_MISSING" });
  await using content = (await third?.content()) ?? assert.fail();
  assert.equal((await allBytes(content)).toString(), "secret");
});
