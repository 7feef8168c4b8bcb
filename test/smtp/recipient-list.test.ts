import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { dsnLines, type RecipientDsn } from "../../src/core/dsn.ts";
import { emptyEnvelope, MAX_ENVELOPE_BYTES } from "../../src/core/envelope.ts";
import { RecipientList } from "../../src/smtp/recipient-list.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { testListener } from "../support/smtp-listener.ts";

const MEBIBYTE = 1024 * 1024;
const DSN: RecipientDsn = { notify: ["FAILURE", "DELAY"], orcpt: `rfc822;${"o".repeat(490)}` };

/** As it will be written. */
function envelopeBytes(list: RecipientList): number {
  const trailer = dsnLines({ ret: null, envid: null, recipients: list.reports });
  const { local, remote } = list;
  return encodeEnvelope({ ...emptyEnvelope, toLocal: local, toRemote: remote, trailer }, "").length;
}

/** Adds one after the other as long as there is room; returns how many. */
function fill(list: RecipientList, address: (n: number) => string, dsn: RecipientDsn | null) {
  let count = 0;
  for (; list.hasRoom(address(count), dsn); count += 1) list.addRemote(address(count), dsn);
  return count;
}

const long = (n: number): string => `${n}${"é".repeat(1900)}@example.com`;
const short = (n: number): string => `n${n}+é@example.com`;

test("hasRoom() ends at the number of recipients while they are small", () => {
  assert.equal(fill(new RecipientList(1000), short, DSN), 1000);
});

test("hasRoom() ends at a mebibyte of addresses", () => {
  const list = new RecipientList(1000);
  fill(list, long, null);
  const bytes = envelopeBytes(list);
  assert.ok(bytes > MEBIBYTE - 4096 && bytes < MEBIBYTE + 512, String(bytes));
});

test("hasRoom() counts what recipients want to be told, as it is written", () => {
  const list = new RecipientList(4000);
  fill(list, long, DSN);
  const bytes = envelopeBytes(list);
  assert.ok(bytes > MEBIBYTE - 16384 && bytes < MEBIBYTE + 512, String(bytes));
});

test("hasRoom() lets many recipients have what a path may have, and leaves room in the envelope", () => {
  const usual = (n: number) => String(n).padStart(256 - 25, "0");
  assert.equal(fill(new RecipientList(10_000), usual, null), 10_000);
  const list = new RecipientList(1_000_000);
  fill(list, usual, null);
  const bytes = envelopeBytes(list);
  assert.ok(bytes > MAX_ENVELOPE_BYTES / 2 - 512 && bytes < MAX_ENVELOPE_BYTES / 2 + 512);
});

test("clear() makes room, and leaves what was handed out", () => {
  const list = new RecipientList(1000);
  const count = fill(list, long, DSN);
  list.addLocal("postmaster");
  const { local, remote } = list;
  list.clear();
  assert.equal(list.count, 0);
  assert.equal(list.reports.size, 0);
  assert.equal(fill(list, long, DSN), count);
  assert.deepEqual(local, ["postmaster"]);
  assert.equal(remote.length, count);
});

test("a recipient does not keep the line it came in", () => {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  assert.ok(typeof collect === "function");
  const list = new RecipientList(3000);
  const rest = `> ${"é€".repeat(2000)}`;
  Reflect.apply(collect, undefined, []);
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < 1000; n += 1) {
    const line = Buffer.from(`<mailbox${n}@example.com ORCPT=rfc822;mailbox@example.com${rest}`);
    const text = line.toString();
    const end = text.indexOf(" ");
    const orcpt = text.slice(end + 7, text.indexOf(">"));
    list.addLocal(text.slice(1, end));
    list.addRemote(text.slice(1, end), { notify: null, orcpt });
  }
  Reflect.apply(collect, undefined, []);
  const grown = process.memoryUsage().heapUsed - before;
  assert.ok(grown < MEBIBYTE, String(grown));
  assert.equal(list.count, 2000);
});

test("RCPT: addresses that are too much together get 452, and the message goes to the others", async () => {
  await using listening = await testListener();
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  await client.ask("EHLO x");
  for (let visit = 0; visit < 2; visit += 1) {
    await client.ask("MAIL FROM:<a@b>");
    let accepted = 0;
    let reply = "";
    for (;;) {
      reply = await client.ask(`RCPT TO:<${accepted}${"x".repeat(4000)}@example.com>`);
      if (!reply.startsWith("250 ")) break;
      accepted += 1;
    }
    assert.equal(reply, "452 4.5.3 too many recipients");
    assert.match(await client.ask("RCPT TO:<short@example.com>"), /^250 /);
    await client.ask("DATA");
    assert.equal(await client.ask("x\r\n."), "250 message processed");
    const { toRemote } = listening.messages[visit]?.submission.envelope ?? emptyEnvelope;
    assert.equal(toRemote.length, accepted + 1);
    assert.equal(accepted, 259);
  }
});
