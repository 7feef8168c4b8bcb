/** What holders know of each other while their files cannot be written or read. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs, {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/io/clock.ts";
import { type Holders, openHolders } from "../../src/spool/holders.ts";
import { systemProcesses } from "../../src/spool/process-table.ts";
import { present } from "../support/peer.ts";
import { putMessage } from "../support/spool-files.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

const ID = "emailrelay.1.1.1";
const isRoot = process.getuid?.() === 0;

const folder = (spool: TempSpool): string => join(spool.directory, ".relayd", "holders");

function holdersOf(spool: TempSpool, clock: Clock = systemClock): Holders {
  const processes = systemProcesses();
  return openHolders({ spool: spool.directory, clock, processes, warn: () => undefined });
}

/** A file of this name, as a container elsewhere leaves it that has written nothing into it, or cannot. */
function putEmpty(spool: TempSpool, name: string, secondsAgo = 0): void {
  mkdirSync(folder(spool), { recursive: true });
  writeFileSync(join(folder(spool), name), "");
  const at = Date.now() / 1000 - secondsAgo;
  utimesSync(join(folder(spool), name), at, at);
}

function putLocked(spool: TempSpool): void {
  putMessage(spool.directory, ID);
  renameSync(join(spool.directory, `${ID}.envelope`), join(spool.directory, `${ID}.envelope.busy`));
}

/** Time stamps of files are coarse. */
const aTickLater = () => new Promise((resolve) => setTimeout(resolve, 50));

/** This process cannot write into files. */
function nothingFits(): Disposable {
  const limit = (bytes: string) => {
    const { stderr } = spawnSync("prlimit", [`--pid=${process.pid}`, `--fsize=${bytes}:`]);
    assert.equal(stderr.toString(), "");
  };
  limit("0");
  return { [Symbol.dispose]: () => limit("unlimited") };
}

/** A clock whose sleepers are woken by hand. */
function alarmClock(): { clock: Clock; ring: () => Promise<void> } {
  let wake: () => void = () => undefined;
  const sleep = (_ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      wake = resolve;
      signal.addEventListener("abort", () => resolve());
    });
  const ring = async () => {
    wake();
    await new Promise(setImmediate);
  };
  return { clock: { ...systemClock, sleep }, ring };
}

test("a heartbeat that cannot be written leaves the record as it is, and beats", {
  skip: present("prlimit"),
}, async () => {
  await using spool = await tempSpool();
  const { clock, ring } = alarmClock();
  const holders = holdersOf(spool, clock);
  holders.enter("forwarder");
  const [name = ""] = readdirSync(folder(spool));
  const path = join(folder(spool), name);
  const before = readFileSync(path, "utf8");
  utimesSync(path, 1, 1);
  {
    using _ = nothingFits();
    await ring();
  }
  assert.equal(readFileSync(path, "utf8"), before);
  assert.match(before, /"leases":\d/);
  putEmpty(spool, "9.9");
  const { live } = holdersOf(spool).census();
  assert.ok(live.some((holder) => holder.name === name && holder.leasesSinceMs > 0));
  await holders.leave();
});

test("each record of a holder is written over the one before", async () => {
  await using spool = await tempSpool();
  const holders = holdersOf(spool);
  holders.enter();
  const [name = ""] = readdirSync(folder(spool));
  const read = () => readFileSync(join(folder(spool), name), "utf8");
  const asWriter = read();
  holders.enter("forwarder");
  const asForwarder = read();
  assert.equal(JSON.parse(asWriter).leases, null);
  assert.equal(typeof JSON.parse(asForwarder).leases, "number");
  assert.equal(asForwarder.length, asWriter.length);
  await holders.leave();
});

test("a holder that could not write that it leases counts as leasing everything", {
  skip: present("prlimit"),
}, async () => {
  await using spool = await tempSpool();
  const holders = holdersOf(spool);
  holders.enter("writer");
  {
    using _ = nothingFits();
    holders.enter("forwarder");
  }
  const [found] = holdersOf(spool).census().live;
  assert.equal(found?.leasesSinceMs, 0);
  await holders.leave();
});

test("a living holder whose record is empty may hold every lock, however old", async () => {
  await using spool = await tempSpool();
  putLocked(spool);
  await aTickLater();
  putEmpty(spool, "7.7");
  const store = await spool.open();
  assert.deepEqual(await store.ready(), []);
});

test("what a dead holder whose record is empty may have held goes back into the queue", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  await aTickLater();
  putLocked(spool);
  await store.recover();
  assert.deepEqual(await store.ready(), []);
  putEmpty(spool, "7.7", 61);
  await store.recover();
  assert.deepEqual(await store.ready(), [ID]);
  assert.ok(!readdirSync(folder(spool)).includes("7.7"));
});

test("a holder whose record is empty is alive as long as its process is, whatever its heartbeat", async () => {
  await using spool = await tempSpool();
  const processes = systemProcesses();
  putEmpty(spool, `${process.ppid}.${processes.startOf(process.ppid)}`, 3600);
  const { live, dead } = holdersOf(spool).census();
  assert.deepEqual([live.length, dead.length], [1, 0]);
});

test("a record that this account may not read is one of a holder, by its heartbeat", {
  skip: isRoot ? false : "needs root to become another account",
}, async () => {
  await using spool = await tempSpool();
  putEmpty(spool, "7.7");
  putEmpty(spool, "8.8", 61);
  for (const name of ["7.7", "8.8"]) chmodSync(join(folder(spool), name), 0o600);
  chmodSync(spool.directory, 0o755);
  process.seteuid?.(65534);
  try {
    const { live, dead } = holdersOf(spool).census();
    assert.deepEqual(
      [live, dead].flat().map(({ name }) => name),
      ["7.7", "8.8"],
    );
    assert.equal(live[0]?.leasesSinceMs, 0);
  } finally {
    process.seteuid?.(0);
  }
});

/** What `fdatasync` is called for, by the content of the file. */
function syncsSeen(context: TestContext, error?: Error): readonly string[] {
  const seen: string[] = [];
  const { fdatasyncSync } = fs;
  fs.fdatasyncSync = (fd) => {
    seen.push(readFileSync(`/proc/self/fd/${fd}`, "utf8"));
    if (error !== undefined) throw error;
  };
  syncBuiltinESMExports();
  context.after(() => {
    fs.fdatasyncSync = fdatasyncSync;
    syncBuiltinESMExports();
  });
  return seen;
}

test("a record is on disk before the first lock, and synced no more", async (context) => {
  await using spool = await tempSpool();
  const seen = syncsSeen(context);
  const { clock, ring } = alarmClock();
  const own = holdersOf(spool, clock);
  own.enter();
  assert.match(seen.at(-1) ?? "", /"leases":null/);
  own.enter("forwarder");
  assert.match(seen.at(-1) ?? "", /"leases":\d/);
  const { length } = seen;
  own.enter("forwarder");
  await ring();
  assert.equal(seen.length, length);
  await own.leave();
});

test("a record that is made anew in another spool is synced there too", async (context) => {
  await using spool = await tempSpool();
  const seen = syncsSeen(context);
  const { clock, ring } = alarmClock();
  const own = holdersOf(spool, clock);
  own.enter("forwarder");
  const { length } = seen;
  rmSync(join(spool.directory, ".relayd"), { recursive: true });
  await ring();
  assert.deepEqual(seen.slice(length), [seen[length - 1]]);
  await own.leave();
});

test("a record that cannot be synced counts all the same", async (context) => {
  await using spool = await tempSpool();
  const seen = syncsSeen(context, new Error("EIO"));
  const own = holdersOf(spool);
  own.enter("forwarder");
  assert.notEqual(seen.length, 0);
  const [name = ""] = readdirSync(folder(spool));
  assert.match(readFileSync(join(folder(spool), name), "utf8"), /"leases":\d/);
  await own.leave();
});
