/** Envelopes whose names are not UTF-8: nobody can be told where they are but the operator. */
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { anEnvelope } from "../support/messages.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

/** "caf\xe9", as a program writes it that knows Latin-1 only. */
const LATIN1 = Buffer.from("caf\xe9", "latin1");

function pathOf(spool: TempSpool, name: Buffer | string, end: string): Buffer {
  return Buffer.concat([Buffer.from(`${spool.directory}/`), Buffer.from(name), Buffer.from(end)]);
}

function put(spool: TempSpool, name: Buffer | string): void {
  writeFileSync(pathOf(spool, name, ".content"), "Subject: x\r\n\r\nx\r\n");
  writeFileSync(pathOf(spool, name, ".envelope"), encodeEnvelope(anEnvelope, ""));
}

function warningOf(spool: TempSpool, name: string): string {
  const path = `${spool.directory}/${name}.envelope`;
  return `ignoring "${path}": name is not UTF-8: rename envelope and content to have it sent`;
}

test("an envelope whose name is not UTF-8 is named once, and taken when it was renamed", async () => {
  await using spool = await tempSpool();
  put(spool, LATIN1);
  const store = await spool.open();
  assert.deepEqual(await store.ready(), []);
  await store.rescan();
  assert.deepEqual(spool.warnings(), [warningOf(spool, "caf\uFFFD")]);
  for (const end of [".content", ".envelope"]) {
    renameSync(pathOf(spool, LATIN1, end), pathOf(spool, "café", end));
  }
  await store.rescan();
  assert.deepEqual(await store.ready(), ["café"]);
  assert.equal(spool.warnings().length, 1);
});

test("an envelope whose name is not UTF-8 is named when it comes while the spool is watched", async () => {
  await using spool = await tempSpool();
  const store = await spool.open({ watch: true });
  await store.ready();
  put(spool, LATIN1);
  assert.deepEqual(await store.ready(), []);
  assert.deepEqual(spool.warnings(), [warningOf(spool, "caf\uFFFD")]);
});

test("an envelope whose name is too long when it is read as UTF-8 holds nobody up", async () => {
  await using spool = await tempSpool();
  put(spool, Buffer.alloc(200, 0xe9));
  put(spool, "other");
  const store = await spool.open();
  assert.deepEqual(await store.ready(), ["other"]);
  assert.deepEqual(spool.warnings(), [warningOf(spool, "\uFFFD".repeat(200))]);
});

test("an envelope whose name has the replacement character itself is taken", async () => {
  await using spool = await tempSpool();
  put(spool, "caf\uFFFD");
  const store = await spool.open();
  const [id] = await store.ready();
  assert.ok(id !== undefined);
  await using lease = await store.lease(id);
  assert.deepEqual(lease?.envelope, anEnvelope);
  assert.deepEqual(spool.warnings(), []);
});
