import assert from "node:assert/strict";
import { readFileSync, rmSync, statSync } from "node:fs";
import { test } from "node:test";
import { OK } from "../../src/filters/item.ts";
import { msgidFilter } from "../../src/filters/msgid.ts";
import { filterBench } from "../support/spool-filter.ts";

/** What is put in front of a content. */
async function added(content: string | Buffer): Promise<string> {
  await using bench = await filterBench({}, content);
  assert.deepEqual(await bench.run(msgidFilter("", bench.terms)), OK);
  await bench.draft.commit();
  const bytes = bench.spool.read(`${bench.draft.id}.content`);
  const old = Buffer.from(content);
  const front = bytes.subarray(0, bytes.length - old.length);
  assert.ok(bytes.subarray(front.length).equals(old));
  return front.toString("latin1");
}

const LINE = /^Message-ID: <\d{10,}\.\d{1,6}\.\d+\.\d+@relay\.test>\r\n$/;

test("msgid: puts a Message-ID in front of a message that has none", async () => {
  const without = [
    "Subject: x\r\n\r\nbody\r\n",
    "\r\nbody only\r\n",
    "",
    "Subject: no body\r\n",
    "Subject: x\n\nMessage-ID: in the body\n",
    "Subject: x\r\n\r\nMessage-ID: <in@body>\r\n",
    "Subject: x\r\n Message-ID: <folded@away>\r\n\r\n",
    "Subject: a\rMessage-ID: <after@bare-cr>\r\n\r\n",
    "X-Message-ID: <other@field>\r\nMessage-IDs: <x@y>\r\n\r\n",
  ];
  for (const content of without) assert.match(await added(content), LINE, content);
});

test("msgid: leaves a message that has one, however it is written", async () => {
  const having = [
    "Message-ID: <a@b>\r\n\r\nbody\r\n",
    "Received: x\r\nmessage-id: <a@b>\r\n\r\n",
    "Received: x\n\ty\nMESSAGE-Id:\n <a@b>\n\n",
    "Subject: x\r\nMessage-Id : <a@b>\r\n",
    `X-Long: ${"x".repeat(200_000)}\r\nMessage-ID: <a@b>\r\n\r\n`,
  ];
  for (const content of having) assert.equal(await added(content), "", content.slice(0, 80));
});

test("msgid: looks no further than a mebibyte into a header", async () => {
  assert.match(
    await added(`X-Long: ${"x\r\n ".repeat(400_000)}\r\nMessage-ID: <a@b>\r\n\r\n`),
    LINE,
  );
});

test("msgid: keeps every byte of a large content", async () => {
  const content = Buffer.alloc(3_000_001, "Subject: \xff\r\n\r\n\0.\r\n\r", "latin1");
  assert.match(await added(content), LINE);
});

test("msgid: gives every message an id of its own, and writes a file of mode 0660", async () => {
  await using bench = await filterBench({}, "\r\n");
  const frozen = { ...bench.terms.clock, now: () => 1_700_000_000_123, monotonic: () => 5 };
  const terms = { ...bench.terms, clock: frozen };
  const path = bench.draft.files().content;
  const lines = new Set<string>();
  for (let count = 0; count < 3; count++) {
    await bench.terms.editor.prepend(path, Buffer.from("\r\n"));
    await bench.run(msgidFilter("", terms));
    lines.add(readFileSync(path, "latin1").split("\r\n")[0] ?? "");
  }
  assert.equal(lines.size, 3);
  for (const line of lines) {
    assert.match(
      line,
      new RegExp(`^Message-ID: <1700000000\\.123000\\.${process.pid}\\.\\d+@relay\\.test>$`),
    );
  }
  assert.equal(statSync(path).mode & 0o7777, 0o660);
});

test("msgid: fails, and changes nothing, when the content is gone", async () => {
  await using bench = await filterBench();
  rmSync(bench.draft.files().content);
  const result = await bench.run(msgidFilter("", bench.terms));
  assert.equal(result.verdict, "fail");
  assert.match(result.reason, /^message content ".*" is missing: no such file or directory$/);
});

test("msgidFilter() throws CONFIG_INVALID for parameters", async () => {
  await using bench = await filterBench();
  assert.throws(() => msgidFilter("x", bench.terms), { code: "CONFIG_INVALID" });
  assert.equal(msgidFilter("", bench.terms).id, "msgid:");
});
