/** A spool directory that is away when the lease of a message ends, and comes back. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { MessageId } from "../../src/core/message-id.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { FileStore } from "../../src/spool/file-store.ts";
import { storeMessage } from "../support/messages.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

/** Takes the directory away; disposed, it is back, in the place of any other. */
function away(spool: TempSpool, back = renameSync): Disposable {
  const elsewhere = `${spool.directory}.away`;
  renameSync(spool.directory, elsewhere);
  return {
    [Symbol.dispose]: () => {
      rmSync(spool.directory, { recursive: true, force: true });
      back(elsewhere, spool.directory);
    },
  };
}

/** Disposed, a copy of it is there: other inodes, with the same names and times. */
function awayToCopy(spool: TempSpool): Disposable {
  return away(spool, (from, to) => {
    cpSync(String(from), String(to), { recursive: true, preserveTimestamps: true });
    rmSync(from, { recursive: true });
  });
}

async function leased(store: FileStore) {
  const id = await storeMessage(store, "x");
  const lease = await store.lease(id);
  assert.ok(lease !== null);
  return { id, lease };
}

/** A message that is locked from the start, once the store commits through its journal. */
async function reserved(store: FileStore, spool: TempSpool): Promise<MessageId> {
  for (let n = 0; n < 100; n++) {
    const { lease } = await leased(store);
    await lease.complete();
    await setTimeout(20);
    const id = await storeMessage(store, "x");
    if (spool.names().includes(`${id}.envelope.busy`)) return id;
    await (await store.lease(id))?.complete();
  }
  assert.fail("nothing is reserved");
}

/** As a forwarder does that finds nothing. */
async function runs(store: FileStore): Promise<readonly MessageId[]> {
  await store.recover();
  return await store.ready().catch(() => []);
}

test("what was delivered while the spool was away is removed when it is back", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const { id, lease } = await leased(store);
  {
    using _ = away(spool);
    await lease.complete();
    assert.deepEqual(await runs(store), []);
  }
  assert.match(
    spool.warnings().join(),
    new RegExp(`${id} is delivered, but stays for now: .*moved`),
  );
  assert.deepEqual(await store.ready(), []);
  assert.deepEqual(spool.names(), []);
});

test("what was delivered while another directory was in the spool's place is removed when it is back", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const { lease } = await leased(store);
  {
    using _ = away(spool);
    mkdirSync(spool.directory);
    await lease.complete();
    assert.deepEqual(await runs(store), []);
  }
  assert.deepEqual(await runs(store), []);
  assert.deepEqual(spool.names(), []);
});

test("a lease that ended while another directory was in the spool's place is back in the queue with it", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const { id, lease } = await leased(store);
  {
    using _ = away(spool);
    mkdirSync(spool.directory);
    await lease[Symbol.asyncDispose]();
    assert.deepEqual(await runs(store), []);
  }
  assert.deepEqual(await store.ready(), [id]);
});

test("what was reserved and delivered while another directory was in the spool's place is removed when it is back", async () => {
  await using spool = await tempSpool();
  const store = await spool.open({
    commits: { demand: 0, segmentBytes: 64 * 4096 },
    clock: { ...systemClock, monotonic: () => 0 },
  });
  const id = await reserved(store, spool);
  {
    using _ = away(spool);
    mkdirSync(spool.directory);
    await store.ready();
    const lease = await store.lease(id);
    assert.ok(lease !== null);
    await lease.complete();
  }
  assert.deepEqual(await runs(store), []);
  assert.deepEqual(spool.names(), []);
});

test("a lease that began before the other directory was noticed is put back there", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  using _ = away(spool);
  mkdirSync(spool.directory);
  const { id, lease } = await leased(store);
  const [from, to] = ["busy", "held"].map((end) => join(spool.directory, `${id}.envelope.${end}`));
  assert.ok(from !== undefined && to !== undefined);
  renameSync(from, to);
  await lease[Symbol.asyncDispose]();
  renameSync(to, from);
  assert.deepEqual(await store.ready(), [id]);
});

test("a message that an operator removed while it was delivered is over, in another directory too", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  using _ = away(spool);
  mkdirSync(spool.directory);
  await runs(store);
  const { id, lease } = await leased(store);
  rmSync(join(spool.directory, `${id}.envelope.busy`));
  await lease.complete();
  assert.deepEqual(spool.names(), []);
  assert.deepEqual(spool.warnings(), []);
});

test("a directory that took the spool's place is known from the next look into the queue on", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  using _ = away(spool);
  mkdirSync(spool.directory);
  await store.ready();
  const { id, lease } = await leased(store);
  rmSync(join(spool.directory, `${id}.envelope.busy`));
  await lease.complete();
  assert.deepEqual(spool.names(), []);
  assert.deepEqual(spool.warnings(), []);
});

for (const between of ["nothing", "another directory"] as const) {
  test(`a lease that ended while ${between} was in the spool's place is back in the queue with a copy of it`, async () => {
    await using spool = await tempSpool();
    const store = await spool.open();
    const { id, lease } = await leased(store);
    {
      using _ = awayToCopy(spool);
      if (between !== "nothing") mkdirSync(spool.directory);
      await lease[Symbol.asyncDispose]();
      assert.deepEqual(await runs(store), []);
    }
    assert.deepEqual(await store.ready(), [id]);
    assert.deepEqual(spool.names(), [`${id}.content`, `${id}.envelope`]);
  });
}

test("what another holder has taken in the copy of a spool that was moved away stays with it", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const { id, lease } = await leased(store);
  {
    using _ = awayToCopy(spool);
    await lease[Symbol.asyncDispose]();
  }
  const path = join(spool.directory, `${id}.envelope`);
  renameSync(`${path}.busy`, path);
  const other = await spool.open();
  const taken = await other.lease(id);
  assert.ok(taken !== null);
  assert.deepEqual(await runs(store), []);
  assert.deepEqual(spool.names(), [`${id}.content`, `${id}.envelope.busy`]);
  await taken[Symbol.asyncDispose]();
  assert.deepEqual(await store.ready(), [id]);
});

test("a lock in a copy may be another program's where the spool is shared", async () => {
  await using spool = await tempSpool();
  const store = await spool.open({ shared: true });
  const { id, lease } = await leased(store);
  {
    using _ = awayToCopy(spool);
    await lease[Symbol.asyncDispose]();
  }
  assert.deepEqual(await runs(store), []);
  assert.deepEqual(spool.names(), [`${id}.content`, `${id}.envelope.busy`]);
});

test("what waits long for its directory is removed at a clean end, if that is back", async () => {
  await using spool = await tempSpool();
  const time = { ms: 0 };
  const store = await spool.open({ clock: { ...systemClock, monotonic: () => time.ms } });
  const { lease } = await leased(store);
  {
    using _ = away(spool);
    await lease.complete();
    time.ms = 3_600_000;
    await runs(store);
  }
  await runs(store);
  assert.equal(spool.names().length, 2);
  await store.close();
  assert.deepEqual(spool.names(), []);
});
