/** A spool directory that is away when the lease of a message ends, and comes back. */
import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import type { FileStore } from "../../src/spool/file-store.ts";
import { storeMessage } from "../support/messages.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

/** Takes the directory away; disposed, it is back, in the place of any other. */
function away(spool: TempSpool): Disposable {
  const elsewhere = `${spool.directory}.away`;
  renameSync(spool.directory, elsewhere);
  return {
    [Symbol.dispose]: () => {
      rmSync(spool.directory, { recursive: true, force: true });
      renameSync(elsewhere, spool.directory);
    },
  };
}

async function leased(store: FileStore) {
  const id = await storeMessage(store, "x");
  const lease = await store.lease(id);
  assert.ok(lease !== null);
  return { id, lease };
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
