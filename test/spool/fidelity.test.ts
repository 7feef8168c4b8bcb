/** Content passes byte for byte, whatever is in it. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import type { Store } from "../../src/core/store.ts";
import { allBytes, anEnvelope, storeMessage } from "../support/messages.ts";
import { tempSpool } from "../support/temp-spool.ts";

async function forwarded(store: Store, id: MessageId): Promise<Buffer> {
  await using lease = await store.lease(id);
  await using content = await (lease ?? assert.fail()).content();
  return await allBytes(content);
}

test("the sample mails of spamassassin come back byte for byte", async (t) => {
  await checkSamples(t, "/usr/share/doc/spamassassin/examples", "spamassassin");
});

test("the sample mails of python's e-mail tests come back byte for byte", async (t) => {
  await checkSamples(t, "/usr/lib/python3.11/test/test_email/data", "libpython3.11-testsuite");
});

/** Real mails with every kind of damage; `from` is the Debian package that has them. */
async function checkSamples(t: TestContext, folder: string, from: string): Promise<void> {
  if (!existsSync(folder) && process.env.CI !== "true") return t.skip(`needs ${from}`);
  await using spool = await tempSpool();
  const store = await spool.open();
  const names = readdirSync(folder).filter((name) => name.endsWith(".txt"));
  assert.ok(names.length > 0);
  for (const name of names) {
    const bytes = readFileSync(join(folder, name));
    const id = await storeMessage(store, bytes);
    assert.ok((await forwarded(store, id)).equals(bytes), name);
  }
  t.diagnostic(`${names.length} mails`);
}

test("random bytes of many sizes come back byte for byte", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const edge = 256 * 1024;
  for (const size of [0, 1, 1000, 65_536, edge - 1, edge, edge + 1, 3 * edge + 17]) {
    const bytes = randomBytes(size);
    const id = await storeMessage(store, bytes);
    assert.ok((await forwarded(store, id)).equals(bytes), `${size} bytes`);
  }
});

test("a message of 50 MB comes back byte for byte", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const sent = createHash("sha256");
  const read = createHash("sha256");
  await using draft = await store.create();
  const piece = randomBytes(65_536 - 7);
  while (draft.size < 50_000_000) {
    piece.writeUInt32LE(draft.size, 0);
    sent.update(piece);
    await draft.write(piece);
  }
  await draft.seal(anEnvelope);
  await draft.commit();
  await using lease = await store.lease(draft.id);
  await using content = await (lease ?? assert.fail()).content();
  for await (const chunk of content.bytes()) read.update(chunk);
  assert.equal(content.size, draft.size);
  assert.equal(read.digest("hex"), sent.digest("hex"));
});
