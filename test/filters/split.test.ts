import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { OK } from "../../src/filters/item.ts";
import { splitFilter } from "../../src/filters/split.ts";
import { CONTENT, type FilterBench, filterBench } from "../support/spool-filter.ts";

async function splitAndCommit(bench: FilterBench, params: string): Promise<void> {
  assert.deepEqual(await bench.run(splitFilter(params, bench.terms)), OK);
  await bench.draft.commit();
}

function linesOf(bench: FilterBench, id: string, pattern: RegExp): string[] {
  const lines = bench.spool.read(`${id}.envelope`).toString().split("\r\n");
  return lines
    .filter((line) => pattern.test(line))
    .map((line) => line.slice("X-MailRelay-".length));
}

const ADDRESSED = /-(?:To-|ToCount|ForwardTo:)/;

test("split: writes what E-MailRelay 2.6 writes, to the byte", async () => {
  const golden = readFileSync(
    join(import.meta.dirname, "../../../test/spool/golden/split.envelope"),
  ).toString();
  const from = "me@here.net";
  const toRemote = ["u1@One.com", "u2@two.net", "u3@ONE.com", "local"];
  await using bench = await filterBench({ from, toRemote });
  await splitAndCommit(bench, "2525");
  const ids = await bench.store.ready();
  assert.equal(ids.length, 3);
  assert.equal(ids[0], bench.draft.id);
  let expected = golden;
  for (const [at, id] of ids.entries()) {
    expected = expected.replace(new RegExp(`emailrelay\\.7702\\.\\d+\\.${at + 1}\\b`), id);
  }
  assert.equal(bench.spool.read(`${ids[1]}.envelope`).toString(), expected);
  assert.deepEqual(linesOf(bench, ids[0] ?? "", ADDRESSED), [
    "ToCount: 1",
    "To-Remote: local",
    "ForwardTo: :2525",
  ]);
  assert.deepEqual(linesOf(bench, ids[2] ?? "", ADDRESSED), [
    "ToCount: 1",
    "To-Remote: u2@two.net",
    "ForwardTo: two.net:2525",
  ]);
  assert.deepEqual(bench.details(), [
    `filter [split:]: [${ids[0]}]: new message [${ids[1]}] for [One.com]`,
    `filter [split:]: [${ids[0]}]: new message [${ids[2]}] for [two.net]`,
  ]);
});

test("split: leaves local recipients with the original, and shares the content", async () => {
  const toRemote = ["a@one.example", "b@two.example"];
  await using bench = await filterBench({ toLocal: ["alice"], toRemote });
  await splitAndCommit(bench, "");
  const [own = "", other = ""] = await bench.store.ready();
  assert.deepEqual(linesOf(bench, own, ADDRESSED), [
    "ToCount: 2",
    "To-Local: alice",
    "To-Remote: a@one.example",
    "ForwardTo: one.example",
  ]);
  assert.deepEqual(linesOf(bench, other, ADDRESSED), [
    "ToCount: 1",
    "To-Remote: b@two.example",
    "ForwardTo: two.example",
  ]);
  assert.equal(bench.spool.read(`${other}.content`).toString(), CONTENT);
  assert.equal(statSync(join(bench.spool.directory, `${own}.content`)).nlink, 2);
  assert.equal(statSync(join(bench.spool.directory, `${other}.envelope`)).mode & 0o7777, 0o660);
  await using lease = await bench.store.lease((await bench.store.ready())[1] ?? bench.draft.id);
  assert.deepEqual(lease?.envelope.toRemote, ["b@two.example"]);
});

test("split: with one domain sets ForwardTo and writes no group", async () => {
  await using bench = await filterBench({ toRemote: ["a@One.example", "b@one.EXAMPLE"] });
  await splitAndCommit(bench, "25");
  assert.deepEqual(await bench.store.ready(), [bench.draft.id]);
  assert.deepEqual(linesOf(bench, bench.draft.id, /ForwardTo:|Split/), [
    "ForwardTo: One.example:25",
  ]);
});

test("split:raw tells domains apart by case", async () => {
  for (const params of ["raw", "raw;", "raw;587", "587;raw"]) {
    await using bench = await filterBench({ toRemote: ["a@One.example", "b@one.example"] });
    await splitAndCommit(bench, params);
    assert.equal((await bench.store.ready()).length, 2, params);
  }
});

test("split: takes the domain after the last at-sign, and writes it as xtext", async () => {
  await using bench = await filterBench({ toRemote: ['"a@b"@ex+mple.net'] });
  await splitAndCommit(bench, "");
  assert.deepEqual(linesOf(bench, bench.draft.id, /ForwardTo:/), ["ForwardTo: ex+2Bmple.net"]);
});

test("split: without remote recipients changes nothing", async () => {
  await using bench = await filterBench({ toLocal: ["alice"], toRemote: [] });
  const before = readFileSync(bench.draft.files().envelope);
  await splitAndCommit(bench, "25");
  assert.deepEqual(bench.spool.read(`${bench.draft.id}.envelope`), before);
});

test("split: keeps what others wrote after the end of the envelope", async () => {
  const trailer = ["X-MailRelay-Reason: before", "X-Note: mine"];
  await using bench = await filterBench({ toRemote: ["a@one", "b@two"], trailer });
  await splitAndCommit(bench, "");
  const [own = "", other = ""] = await bench.store.ready();
  for (const id of [own, other]) {
    const text = bench.spool.read(`${id}.envelope`).toString();
    assert.match(
      text,
      /End: 1\r\nX-MailRelay-Reason: before\r\nX-Note: mine\r\nX-MailRelay-SplitG/,
    );
  }
});

test("split: shows new messages only when it is done, and none when it fails", async () => {
  await using bench = await filterBench({ toRemote: ["a@one", "b@two", "c@three"] });
  const before = readFileSync(bench.draft.files().envelope);
  // The original's new envelope cannot be written: something is in the way.
  mkdirSync(`${bench.draft.files().envelope}.tmp`);
  const result = await bench.run(splitFilter("", bench.terms));
  assert.equal(result.verdict, "fail");
  assert.equal(result.code, 0);
  assert.notEqual(result.reason, "");
  assert.deepEqual(await bench.store.ready(), []);
  assert.deepEqual(readFileSync(bench.draft.files().envelope), before);
  const names = readdirSync(bench.spool.directory).filter((name) => name.endsWith(".content"));
  assert.deepEqual(names, [`${bench.draft.id}.content`]);
});

test("split: works on a leased message as a client filter does", async () => {
  await using bench = await filterBench({ toRemote: ["a@one", "b@two"] });
  await bench.draft.commit();
  await using lease = await bench.store.lease(bench.draft.id);
  assert.ok(lease !== null);
  const job = { id: lease.id, files: lease.files() };
  const item = splitFilter("", { ...bench.terms, role: "client-filter" });
  assert.deepEqual(await item.run(job, new AbortController().signal), OK);
  assert.deepEqual((await lease.reread()).toRemote, ["a@one"]);
  assert.equal((await bench.store.ready()).length, 1);
});

test("splitFilter() throws CONFIG_INVALID for anything but raw and one port", async () => {
  await using bench = await filterBench();
  for (const params of ["r", "0", "65536", "25;26", "smtp", "-1", "raw;x", "25x"]) {
    assert.throws(() => splitFilter(params, bench.terms), { code: "CONFIG_INVALID" }, params);
  }
  assert.equal(splitFilter("", bench.terms).id, "split:");
});
