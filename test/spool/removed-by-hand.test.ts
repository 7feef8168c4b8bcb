/** Messages that an operator removes while a forwarder has them. */
import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import type { FileStore } from "../../src/spool/file-store.ts";
import { anEnvelope, storeMessage } from "../support/messages.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

const REASON = { text: "no", code: 550, recipients: anEnvelope.toRemote };
const REMOVED = {
  code: "MESSAGE_REMOVED",
  message: /cannot write ".*busy": it was removed meanwhile/,
};

async function leased(store: FileStore) {
  const id = await storeMessage(store, "x");
  const lease = await store.lease(id);
  assert.ok(lease !== null);
  return { id, lease };
}

function removeByHand(spool: TempSpool, id: MessageId): void {
  for (const end of ["envelope.busy", "content"]) rmSync(join(spool.directory, `${id}.${end}`));
}

test("rewrite() does not bring back a message that was removed, and nobody waits for it", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const { id, lease } = await leased(store);
  removeByHand(spool, id);
  await assert.rejects(lease.rewrite(anEnvelope), REMOVED);
  await lease[Symbol.asyncDispose]();
  assert.deepEqual(spool.names(), []);
  assert.deepEqual(await store.ready(), []);
});

test("rewrite() does not bring back a message that is removed while its new envelope is synced", async () => {
  await using spool = await tempSpool();
  const { id, lease } = await leased(await spool.open());
  const rewriting = lease.rewrite(anEnvelope);
  removeByHand(spool, id);
  await assert.rejects(rewriting, REMOVED);
  await lease[Symbol.asyncDispose]();
  assert.deepEqual(spool.names(), []);
});

test("fail() does not bring back a message that is removed while its reason is synced", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const { id, lease } = await leased(store);
  const failing = lease.fail(REASON);
  removeByHand(spool, id);
  await assert.rejects(failing, { code: "SPOOL_IO" });
  await lease[Symbol.asyncDispose]();
  assert.deepEqual(spool.names(), []);
  assert.deepEqual(store.failures(), []);
});

for (const [what, name] of [
  ["put back", ""],
  ["parked", ".hold"],
] as const) {
  test(`a message that is ${what} meanwhile is not taken for one that was removed`, async () => {
    await using spool = await tempSpool();
    const { id, lease } = await leased(await spool.open());
    const path = join(spool.directory, `${id}.envelope`);
    renameSync(`${path}.busy`, `${path}${name}`);
    const renamed = { code: "SPOOL_IO", message: /it was renamed meanwhile/ };
    await assert.rejects(lease.rewrite(anEnvelope), renamed);
    assert.deepEqual(spool.names(), [`${id}.content`, `${id}.envelope${name}`]);
  });
}

test("a message that is away with the whole spool is not taken for one that was removed", async () => {
  await using spool = await tempSpool();
  const { lease } = await leased(await spool.open());
  renameSync(spool.directory, `${spool.directory}.away`);
  mkdirSync(spool.directory);
  const moved = { code: "SPOOL_IO", message: /the spool directory was moved away/ };
  await assert.rejects(lease.rewrite(anEnvelope), moved);
  assert.deepEqual(spool.names(), []);
  rmSync(`${spool.directory}.away`, { recursive: true });
});
