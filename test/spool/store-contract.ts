/** What every Store must do: one suite, run against each implementation. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Store } from "../../src/core/store.ts";
import { allBytes, anEnvelope, storeMessage } from "../support/messages.ts";

export interface ContractSubject extends AsyncDisposable {
  readonly store: Store;
  /** Removes a message's content behind the store's back. */
  loseContent(id: string): void;
}

export function storeContract(name: string, open: () => Promise<ContractSubject>): void {
  test(`${name}: a committed message is ready, and its lease has the envelope and the content`, async () => {
    await using subject = await open();
    const id = await storeMessage(subject.store, "Subject: x\r\n\r\n.\r\n..\r\nend");
    assert.deepEqual(await subject.store.ready(), [id]);
    await using lease = await subject.store.lease(id);
    assert.deepEqual(lease?.envelope, anEnvelope);
    await using content = await lease.content();
    assert.equal((await allBytes(content)).toString(), "Subject: x\r\n\r\n.\r\n..\r\nend");
    assert.equal(content.size, 24);
  });

  test(`${name}: a draft is invisible before its commit`, async () => {
    await using subject = await open();
    await using draft = await subject.store.create();
    await draft.write(Buffer.from("x"));
    await draft.seal(anEnvelope);
    assert.deepEqual(await subject.store.ready(), []);
    assert.equal(await subject.store.lease(draft.id), null);
    assert.equal(draft.size, 1);
  });

  test(`${name}: ready() is sorted by name in byte order`, async () => {
    await using subject = await open();
    const ids: string[] = [];
    for (let n = 0; n < 12; n++) ids.push(await storeMessage(subject.store, `${n}`));
    assert.deepEqual(await subject.store.ready(), ids.sort());
  });

  test(`${name}: ready() is a snapshot that does not change later`, async () => {
    await using subject = await open();
    const id = await storeMessage(subject.store, "x");
    const before = await subject.store.ready();
    await using lease = await subject.store.lease(id);
    await lease?.complete();
    await storeMessage(subject.store, "y");
    assert.deepEqual(before, [id]);
  });

  test(`${name}: lease() returns null when another forwarder was faster`, async () => {
    await using subject = await open();
    const id = await storeMessage(subject.store, "x");
    await using first = await subject.store.lease(id);
    assert.ok(first !== null);
    assert.equal(await subject.store.lease(id), null);
    assert.deepEqual(await subject.store.ready(), []);
  });

  test(`${name}: a disposed lease puts the message back`, async () => {
    await using subject = await open();
    const id = await storeMessage(subject.store, "x");
    {
      await using _lease = await subject.store.lease(id);
    }
    assert.deepEqual(await subject.store.ready(), [id]);
    await using again = await subject.store.lease(id);
    assert.ok(again !== null);
  });

  test(`${name}: a completed message is gone`, async () => {
    await using subject = await open();
    const id = await storeMessage(subject.store, "x");
    {
      await using lease = await subject.store.lease(id);
      await lease?.complete();
    }
    assert.deepEqual(await subject.store.ready(), []);
    assert.equal(await subject.store.lease(id), null);
  });

  test(`${name}: a failed message is out of the queue`, async () => {
    await using subject = await open();
    const id = await storeMessage(subject.store, "x");
    {
      await using lease = await subject.store.lease(id);
      await lease?.fail({ text: "no", code: 550, recipients: anEnvelope.toRemote });
    }
    assert.deepEqual(await subject.store.ready(), []);
    assert.equal(await subject.store.lease(id), null);
  });

  test(`${name}: content() throws CONTENT_MISSING when there is none`, async () => {
    await using subject = await open();
    const id = await storeMessage(subject.store, "x");
    subject.loseContent(id);
    await using lease = await subject.store.lease(id);
    assert.ok(lease !== null);
    await assert.rejects(lease.content(), { code: "CONTENT_MISSING" });
  });

  test(`${name}: a message of many chunks comes back byte for byte`, async () => {
    await using subject = await open();
    const bytes = Buffer.alloc(700_001, "0123456789\r\n.\0\xff", "latin1");
    await using draft = await subject.store.create();
    const chunk = Buffer.alloc(9973);
    for (let at = 0; at < bytes.length; at += chunk.length) {
      // One buffer for all chunks: the store must not keep what it was given.
      const length = bytes.copy(chunk, 0, at);
      await draft.write(chunk.subarray(0, length));
    }
    await draft.seal(anEnvelope);
    await draft.commit();
    await using lease = await subject.store.lease(draft.id);
    assert.ok(lease !== null);
    await using content = await lease.content();
    assert.ok((await allBytes(content)).equals(bytes));
  });

  test(`${name}: changes() ends when its signal is aborted`, async () => {
    await using subject = await open();
    const controller = new AbortController();
    const ended = (async () => {
      for await (const _ of subject.store.changes(controller.signal));
    })();
    controller.abort();
    await ended;
  });
}
