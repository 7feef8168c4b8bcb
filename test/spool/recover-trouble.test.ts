/** Recovery where a file cannot be looked at, or cannot be put right. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { newMessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { Disk } from "../../src/io/disk.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { GivenUp } from "../../src/spool/given-up.ts";
import type { Holder, Holders } from "../../src/spool/holders.ts";
import { noOtherHolders } from "../../src/spool/holders.ts";
import { SpoolPlace } from "../../src/spool/place.ts";
import type { ProcessTable } from "../../src/spool/process-table.ts";
import { type RecoveryOptions, recover } from "../../src/spool/recover.ts";
import { anEnvelope } from "../support/messages.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

const DAY_MS = 86_400_000;
const DEAD_PID = 4_000_000_000;

function putMessage(spool: TempSpool, name: string, state: string): void {
  spool.put(`${name}.content`, "x");
  spool.put(`${name}.envelope${state}`, encodeEnvelope(anEnvelope, ""));
}

/** A disk with a bad block: the named operations fail on the named files. */
function faultyDisk(directory: string, bad: Map<string, "stat" | "rename" | "remove" | "list">) {
  const whole = nodeDisk(directory);
  const check = (what: string, name: string) => {
    if (bad.get(name) !== what) return;
    const text = `EIO: i/o error, ${what} '${join(directory, name)}'`;
    throw Object.assign(new Error(text), { code: "EIO", syscall: what });
  };
  const disk: Disk = {
    ...whole,
    stat: (name) => {
      check("stat", name);
      return whole.stat(name);
    },
    rename: (from, to) => {
      check("rename", from);
      whole.rename(from, to);
    },
    remove: (name) => {
      check("remove", name);
      whole.remove(name);
    },
    list: (folder) => {
      check("list", folder ?? ".");
      return whole.list(folder);
    },
  };
  return disk;
}

function optionsFor(disk: Disk, more: Partial<RecoveryOptions> = {}): RecoveryOptions {
  const processes: ProcessTable = {
    home: { host: "here", boot: "1", namespace: "" },
    pid: 7,
    startOf: () => null,
    startedAtMs: () => null,
  };
  return {
    ...{ disk, processes, holders: noOtherHolders, inHand: () => false },
    givenUp: new GivenUp(disk, new SpoolPlace(disk), systemClock),
    ...{ atStart: true, shared: false, replayed: true, nowMs: Date.now(), told: new Map() },
    warn: assert.fail,
    ...more,
  };
}

test("a lock that cannot be looked at is named, and the others go back into the queue", async () => {
  await using spool = await tempSpool();
  for (const n of [1, 2, 3]) putMessage(spool, `emailrelay.${n}.1.1`, ".busy");
  const disk = faultyDisk(spool.directory, new Map([["emailrelay.2.1.1.envelope.busy", "stat"]]));
  const store = await spool.open({ disk });
  assert.deepEqual(await store.ready(), ["emailrelay.1.1.1", "emailrelay.3.1.1"]);
  const path = join(spool.directory, "emailrelay.2.1.1.envelope.busy");
  assert.deepEqual(spool.warnings(), [`cannot recover "${path}": i/o error`]);
});

test("a lock that cannot be renamed is named once, and goes back into the queue when it can be", async () => {
  await using spool = await tempSpool();
  for (const n of [1, 2]) putMessage(spool, `emailrelay.${n}.1.1`, ".busy");
  const bad = new Map([["emailrelay.1.1.1.envelope.busy", "rename" as const]]);
  const store = await spool.open({ disk: faultyDisk(spool.directory, bad) });
  assert.deepEqual(await store.ready(), ["emailrelay.2.1.1"]);
  await store.recover();
  assert.equal(spool.warnings().length, 1);
  bad.clear();
  await store.recover();
  assert.deepEqual(await store.ready(), ["emailrelay.1.1.1", "emailrelay.2.1.1"]);
});

test("a lease that was given up in several directories is over when its lock is put back in one", async () => {
  await using spool = await tempSpool();
  const id = newMessageId(1, 1, 1);
  putMessage(spool, id, ".busy");
  const holders = { ...noOtherHolders, census: () => ({ ownSinceMs: 0, live: [], dead: [] }) };
  const options = optionsFor(nodeDisk(spool.directory), { holders, atStart: false });
  assert.deepEqual(recover(options, spool.names()), []);
  options.givenUp.add(id, "another directory");
  assert.deepEqual(recover(options, spool.names()), [{ id, action: "put back in the queue" }]);
  assert.equal(options.givenUp.has(id), false);
});

test("a half-written file that cannot be removed is named, and the others go", async () => {
  await using spool = await tempSpool();
  for (const n of [1, 2, 3]) spool.put(`emailrelay.${n}.1.1.content`, "x");
  spool.put("emailrelay.1.1.1.envelope.busy.tmp", "x");
  spool.put("emailrelay.2.1.1.envelope.busy.tmp", "x");
  const warnings: string[] = [];
  const disk = faultyDisk(
    spool.directory,
    new Map([
      ["emailrelay.1.1.1.content", "remove"],
      ["emailrelay.2.1.1.content", "stat"],
      ["emailrelay.1.1.1.envelope.busy.tmp", "remove"],
    ]),
  );
  recover(
    optionsFor(disk, { nowMs: Date.now() + 2 * DAY_MS, warn: (text) => warnings.push(text) }),
    spool.names(),
  );
  assert.deepEqual(spool.names(), [
    "emailrelay.1.1.1.content",
    "emailrelay.1.1.1.envelope.busy.tmp",
    "emailrelay.2.1.1.content",
  ]);
  assert.equal(warnings.length, 3);
});

test("no content is removed while a folder that may have its envelope cannot be listed", async () => {
  await using spool = await tempSpool();
  spool.put("emailrelay.1.1.1.content", "x");
  mkdirSync(join(spool.directory, "alice"));
  putMessage(spool, "emailrelay.2.1.1", ".busy");
  const warnings: string[] = [];
  const disk = faultyDisk(spool.directory, new Map([["alice", "list"]]));
  const found = recover(
    optionsFor(disk, { nowMs: Date.now() + 2 * DAY_MS, warn: (text) => warnings.push(text) }),
    spool.names(),
  );
  assert.deepEqual(found, [{ id: "emailrelay.2.1.1", action: "put back in the queue" }]);
  assert.ok(spool.names().includes("emailrelay.1.1.1.content"));
  assert.match(warnings.join(), /alice/);
});

test("a dead holder is remembered while a lock that it may have taken cannot be put right", async () => {
  await using spool = await tempSpool();
  putMessage(spool, "emailrelay.1.1.1", ".busy");
  const dead: Holder = { name: "1.1", pid: DEAD_PID, sinceMs: 0, leasesSinceMs: 0, removing: null };
  const forgotten: string[] = [];
  const holders: Holders = {
    ...noOtherHolders,
    census: () => ({ ownSinceMs: 0, live: [], dead: [dead] }),
    forget: ({ name }) => forgotten.push(name),
  };
  const bad = new Map([["emailrelay.1.1.1.envelope.busy", "rename" as const]]);
  const options = optionsFor(faultyDisk(spool.directory, bad), {
    ...{ holders, atStart: false, warn: () => undefined },
  });
  recover(options, spool.names());
  assert.deepEqual(forgotten, []);
  bad.clear();
  recover(options, spool.names());
  assert.deepEqual(forgotten, ["1.1"]);
});

const ID = "emailrelay.1.1.1";
const GOOD = encodeEnvelope(anEnvelope, "");
const IN_ITS_PLACE: readonly { what: string; put: (spool: TempSpool, path: string) => void }[] = [
  { what: "is empty", put: (spool) => spool.put(`${ID}.envelope`, "") },
  { what: "makes no sense", put: (spool) => spool.put(`${ID}.envelope`, "garbage\n") },
  { what: "is cut short", put: (spool) => spool.put(`${ID}.envelope`, GOOD.subarray(0, 60)) },
  { what: "is a directory", put: (_, path) => mkdirSync(path) },
  { what: "is a fifo", put: (_, path) => execFileSync("mkfifo", [path]) },
  {
    what: "is a link to a good one",
    put(spool, path) {
      spool.put("elsewhere", GOOD);
      symlinkSync("elsewhere", path);
    },
  },
];

for (const { what, put } of IN_ITS_PLACE) {
  test(`a stale lock stays beside an envelope that ${what}, and no forwarder replaces it`, async () => {
    await using spool = await tempSpool();
    putMessage(spool, ID, ".busy");
    const path = join(spool.directory, `${ID}.envelope`);
    put(spool, path);
    const { ino } = lstatSync(path);
    const store = await spool.open();
    for (const id of await store.ready()) assert.equal(await store.lease(id), null);
    await store.recover();
    assert.deepEqual(spool.read(`${ID}.envelope.busy`), GOOD);
    assert.equal(lstatSync(path).ino, ino);
    const [first, ...others] = spool.warnings();
    assert.ok(
      first?.startsWith(`cannot recover "${path}.busy": cannot read the envelope beside it`),
    );
    assert.equal(others.length, 1);
    assert.ok(others[0]?.startsWith(`ignoring "${path}": cannot read envelope file`));
  });
}

test("an envelope that was put right is taken, and no lock is left beside it", async () => {
  await using spool = await tempSpool();
  putMessage(spool, ID, ".busy");
  spool.put(`${ID}.envelope`, "garbage\n");
  const store = await spool.open();
  const [id] = await store.ready();
  assert.ok(id !== undefined);
  assert.equal(await store.lease(id), null);
  spool.put(`${ID}.envelope`, GOOD);
  {
    await using lease = await store.lease(id);
    assert.deepEqual(lease?.envelope.toRemote, anEnvelope.toRemote);
  }
  assert.deepEqual(spool.names(), [`${ID}.content`, `${ID}.envelope`]);
});
