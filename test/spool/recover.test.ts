/** Recovery beside living and dead processes, of this machine and of others. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, renameSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../../src/io/clock.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { GivenUp } from "../../src/spool/given-up.ts";
import { noOtherHolders } from "../../src/spool/holders.ts";
import { SpoolPlace } from "../../src/spool/place.ts";
import { systemProcesses } from "../../src/spool/process-table.ts";
import { recover } from "../../src/spool/recover.ts";
import { anEnvelope, storeMessage } from "../support/messages.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

const HERE = systemProcesses().home;
const ELSEWHERE = { host: "another", boot: "another", namespace: "pid:[1]" };
const NO_SUCH_PID = 4_000_000_000;
const HOUR_MS = 3_600_000;

function putMessage(spool: TempSpool, name: string, state: string): void {
  spool.put(`${name}.content`, "x");
  spool.put(`${name}.envelope${state}`, encodeEnvelope(anEnvelope, ""));
}

function putHolder(
  spool: TempSpool,
  name: string,
  record: { host: string; boot: string; namespace: string; since: number },
  secondsAgo = 0,
): void {
  const folder = join(spool.directory, ".relayd", "holders");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), JSON.stringify(record));
  const at = Date.now() / 1000 - secondsAgo;
  utimesSync(join(folder, name), at, at);
}

const holders = (spool: TempSpool): string[] =>
  readdirSync(join(spool.directory, ".relayd", "holders")).sort();

const recoveries = (spool: TempSpool): string[] =>
  spool.events.flatMap((event) =>
    event.kind === "spool.recovered" ? [`${event.id} ${event.action}`] : [],
  );

function later(ms: number) {
  return { ...systemClock, now: () => Date.now() + ms };
}

test("a lock that no living process can hold goes back into the queue at the start", async () => {
  await using spool = await tempSpool();
  putMessage(spool, "emailrelay.1.1.1", ".busy");
  putMessage(spool, "any-name", ".busy");
  const store = await spool.open();
  assert.deepEqual(await store.ready(), ["any-name", "emailrelay.1.1.1"]);
  assert.deepEqual(recoveries(spool).sort(), [
    "any-name put back in the queue",
    "emailrelay.1.1.1 put back in the queue",
  ]);
});

test("recover() leaves our own leases and drafts alone", async () => {
  await using spool = await tempSpool();
  const store = await spool.open({ clock: later(0) });
  const stored = await storeMessage(store, "x");
  await using _lease = await store.lease(stored);
  await using draft = await store.create();
  const before = spool.names();
  assert.deepEqual(await store.recover(), []);
  assert.deepEqual(spool.names(), before);
  assert.ok(before.includes(`${draft.id}.content`));
});

test("a second store leaves the leases and drafts of a living one alone, and either recovers after the other", async () => {
  await using spool = await tempSpool();
  const first = await spool.open();
  const stored = await storeMessage(first, "x");
  await using lease = await first.lease(stored);
  await using draft = await first.create();
  assert.ok(lease !== null);
  const second = await spool.open();
  assert.deepEqual(await second.recover(), []);
  assert.deepEqual(await second.ready(), []);
  assert.ok(spool.names().includes(`${draft.id}.content`));
  assert.equal(holders(spool).length, 2);
});

test("close() takes back the registration", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  assert.equal(holders(spool).length, 1);
  await store.close();
  assert.deepEqual(holders(spool), []);
});

test("a lock of another program taken after our start stays, unless a crashed holder can have taken it", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  await aTickLater();
  putMessage(spool, "emailrelay.1.1.1", ".busy");
  assert.deepEqual(await store.recover(), []);
  putHolder(spool, `${NO_SUCH_PID}.5`, { ...HERE, since: Date.now() - 5000 });
  assert.equal((await store.recover()).length, 1);
  assert.ok(!holders(spool).includes(`${NO_SUCH_PID}.5`));
});

test("a holder of another container is alive while it was heard of within the last minute", async () => {
  await using spool = await tempSpool();
  putMessage(spool, "emailrelay.1.1.1", ".busy");
  putHolder(spool, "7.7", { ...ELSEWHERE, since: Date.now() - HOUR_MS }, 30);
  const store = await spool.open();
  assert.deepEqual(await store.ready(), []);
  putHolder(spool, "7.7", { ...ELSEWHERE, since: Date.now() - HOUR_MS }, 61);
  await store.recover();
  assert.deepEqual(await store.ready(), ["emailrelay.1.1.1"]);
});

test("a lock that is older than every living holder is stale, whoever they are", async () => {
  await using spool = await tempSpool();
  putMessage(spool, "emailrelay.1.1.1", ".busy");
  putHolder(spool, "7.7", { ...ELSEWHERE, since: Date.now() + 60_000 });
  const store = await spool.open();
  assert.deepEqual(await store.ready(), ["emailrelay.1.1.1"]);
});

test("a process that has our holder's pid but another start time is not that holder", async () => {
  await using spool = await tempSpool();
  putMessage(spool, "emailrelay.1.1.1", ".busy");
  putHolder(spool, `${process.ppid}.1`, { ...HERE, since: Date.now() - HOUR_MS });
  const store = await spool.open();
  assert.deepEqual(await store.ready(), ["emailrelay.1.1.1"]);
  assert.ok(!holders(spool).includes(`${process.ppid}.1`));
});

test("in a shared spool a lock is stale after an hour", async () => {
  await using spool = await tempSpool();
  putMessage(spool, "emailrelay.1.1.1", ".busy");
  const early = await spool.open({ shared: true });
  assert.deepEqual(await early.ready(), []);
  await early.close();
  const late = await spool.open({ shared: true, clock: later(HOUR_MS + 1000) });
  assert.deepEqual(await late.ready(), ["emailrelay.1.1.1"]);
});

test("a stale lock beside a waiting envelope is removed, the envelope stays", async () => {
  await using spool = await tempSpool();
  putMessage(spool, "emailrelay.1.1.1", ".busy");
  putMessage(spool, "emailrelay.1.1.1", "");
  await spool.open();
  assert.deepEqual(spool.names(), ["emailrelay.1.1.1.content", "emailrelay.1.1.1.envelope"]);
  assert.deepEqual(recoveries(spool), [
    "emailrelay.1.1.1 removed a stale lock beside its envelope",
  ]);
});

test("half-written drafts of a crashed holder are removed at the start", async () => {
  await using spool = await tempSpool();
  putHolder(spool, `${NO_SUCH_PID}.5`, { ...HERE, since: Date.now() - 5000 });
  spool.put(`emailrelay.${NO_SUCH_PID}.1.1.content`, "half a mess");
  spool.put(`emailrelay.${NO_SUCH_PID}.1.2.content`, "a message");
  spool.put(`emailrelay.${NO_SUCH_PID}.1.2.envelope.new`, "X-MailRel");
  spool.put(`emailrelay.${NO_SUCH_PID}.1.3.envelope.busy.tmp`, "X-MailRel");
  await spool.open();
  assert.deepEqual(spool.names(), []);
  assert.equal(recoveries(spool).length, 4);
});

test("drafts that some process may still write, and files that are no drafts, stay", async () => {
  await using spool = await tempSpool();
  const maybe = [
    // No holder is known to have made it: E-MailRelay, relayd-submit, another container.
    `emailrelay.${NO_SUCH_PID}.1.1.content`,
    // Its maker is alive.
    `emailrelay.${process.ppid}.1.1.content`,
    `emailrelay.${process.ppid}.1.2.envelope.new`,
    "emailrelay.x.content",
    "notes.content",
    "emailrelay.1.2.content",
    "README",
  ].sort();
  for (const name of maybe) spool.put(name, "x");
  await spool.open();
  assert.deepEqual(spool.names(), maybe);
});

test("a draft of a crashed holder stays when a living one elsewhere has the same pid", async () => {
  await using spool = await tempSpool();
  putHolder(spool, `${NO_SUCH_PID}.5`, { ...HERE, since: Date.now() - 5000 });
  putHolder(spool, `${NO_SUCH_PID}.6`, { ...ELSEWHERE, since: Date.now() - 5000 });
  spool.put(`emailrelay.${NO_SUCH_PID}.1.1.content`, "x");
  await spool.open();
  assert.equal(spool.names().length, 1);
});

test("drafts older than a day are removed whoever made them, except under names that are not ours", async () => {
  await using spool = await tempSpool();
  spool.put(`emailrelay.${NO_SUCH_PID}.1.1.content`, "x");
  spool.put(`emailrelay.${NO_SUCH_PID}.1.2.envelope.new`, "x");
  spool.put("notes.content", "x");
  putMessage(spool, "emailrelay.1.1.1", ".bad");
  await spool.open({ clock: later(25 * HOUR_MS) });
  assert.deepEqual(spool.names(), [
    "emailrelay.1.1.1.content",
    "emailrelay.1.1.1.envelope.bad",
    "notes.content",
  ]);
});

test("content that is nobody's goes after a day although the process that made it still runs", async () => {
  await using spool = await tempSpool();
  let offset = 0;
  const store = await spool.open({ clock: { ...systemClock, now: () => Date.now() + offset } });
  await using draft = await store.create();
  await using sealed = await store.create();
  await sealed.seal(anEnvelope);
  // As a forwarder leaves it that is killed between the removals of envelope and content.
  spool.put(`emailrelay.${process.pid}.1.1.content`, "x");
  offset = 23 * HOUR_MS;
  assert.deepEqual(await store.recover(), []);
  offset = 25 * HOUR_MS;
  assert.equal((await store.recover()).length, 1);
  assert.deepEqual(spool.names(), [
    `${draft.id}.content`,
    `${sealed.id}.content`,
    `${sealed.id}.envelope.new`,
  ]);
});

test("a draft of another store of this process stays, however long it takes", async () => {
  await using spool = await tempSpool();
  const first = await spool.open();
  await using draft = await first.create();
  const second = await spool.open({ clock: later(25 * HOUR_MS) });
  assert.deepEqual(await second.recover(), []);
  assert.deepEqual(spool.names(), [`${draft.id}.content`]);
});

test("recover() looks again for an envelope that a listing has missed because it was being renamed", async () => {
  for (const state of ["", ".busy", ".bad"]) {
    await using spool = await tempSpool();
    const name = `emailrelay.${NO_SUCH_PID}.1.1`;
    putMessage(spool, name, state);
    const disk = nodeDisk(spool.directory);
    const options = {
      disk,
      holders: noOtherHolders,
      processes: systemProcesses(),
      inHand: () => false,
      givenUp: new GivenUp(disk, new SpoolPlace(disk), systemClock),
      atStart: false,
      shared: false,
      replayed: true,
      nowMs: Date.now() + 25 * HOUR_MS,
      warn: assert.fail,
      told: new Map<string, string>(),
    };
    assert.deepEqual(recover(options, [`${name}.content`]), []);
    assert.deepEqual(spool.names(), [`${name}.content`, `${name}.envelope${state}`]);
  }
});

test("content whose envelope is in a mailbox below stays", async () => {
  await using spool = await tempSpool();
  const name = `emailrelay.${NO_SUCH_PID}.1.1`;
  spool.put(`${name}.content`, "x");
  mkdirSync(join(spool.directory, "alice"));
  writeFileSync(join(spool.directory, "alice", `${name}.envelope`), "x");
  await spool.open({ clock: later(25 * HOUR_MS) });
  assert.deepEqual(spool.names(), ["alice", `${name}.content`]);
});

test("a holder whose lease was taken before its clock went back is not taken for dead", async () => {
  await using spool = await tempSpool();
  let offset = 0;
  const first = await spool.open({ clock: { ...systemClock, now: () => Date.now() + offset } });
  const stored = await storeMessage(first, "x");
  offset = -60_000;
  await using lease = await first.lease(stored);
  assert.ok(lease !== null);
  const second = await spool.open();
  assert.deepEqual(await second.ready(), []);
});

test("two processes that lease from one spool never hold the same message", async () => {
  await using spool = await tempSpool();
  const first = await spool.open();
  const second = await spool.open();
  const stored = await storeMessage(first, "x");
  await second.rescan();
  const leases = await Promise.all([first.lease(stored), second.lease(stored)]);
  assert.equal(leases.filter((lease) => lease !== null).length, 1);
  for (const lease of leases) await lease?.[Symbol.asyncDispose]();
  assert.deepEqual(await second.ready(), [stored]);
});

test("a spool where .relayd cannot be made still works, with a warning", async () => {
  await using spool = await tempSpool();
  spool.put(".relayd", "in the way");
  const store = await spool.open();
  const stored = await storeMessage(store, "x");
  await using lease = await store.lease(stored);
  assert.ok(lease !== null);
  assert.equal(spool.warnings().length, 1);
  assert.match(spool.warnings()[0] ?? "", /cannot register in/);
  renameSync(join(spool.directory, ".relayd"), join(spool.directory, "aside"));
});

/** Time stamps of files move in steps of a few milliseconds. */
async function aTickLater(): Promise<void> {
  await systemClock.sleep(20, new AbortController().signal);
}
