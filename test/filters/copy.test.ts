import assert from "node:assert/strict";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { copyFilter } from "../../src/filters/copy.ts";
import { ABANDON, OK } from "../../src/filters/item.ts";
import { CONTENT, type FilterBench, filterBench, makeMaildir } from "../support/spool-filter.ts";

async function benchWith(...mailboxes: string[]): Promise<FilterBench> {
  const bench = await filterBench();
  for (const name of mailboxes) mkdirSync(join(bench.spool.directory, name));
  return bench;
}

function mailbox(bench: FilterBench, name: string): string[] {
  return readdirSync(join(bench.spool.directory, name)).sort();
}

function both(bench: FilterBench): string[] {
  return [`${bench.draft.id}.content`, `${bench.draft.id}.envelope`];
}

/** Files of the spool that are not mailboxes. */
function inSpool(bench: FilterBench): string[] {
  return bench.spool.names().filter((name) => name.startsWith("emailrelay."));
}

test("copy: gives both files to every mailbox, removes the originals and abandons", async () => {
  await using bench = await benchWith("alice", "bob");
  const envelope = readFileSync(bench.draft.files().envelope);
  assert.deepEqual(await bench.run(copyFilter("", bench.terms)), ABANDON);
  for (const name of ["alice", "bob"]) {
    assert.deepEqual(mailbox(bench, name), both(bench));
    const path = join(bench.spool.directory, name, bench.draft.id);
    assert.equal(readFileSync(`${path}.content`, "utf8"), CONTENT);
    assert.deepEqual(readFileSync(`${path}.envelope`), envelope);
    assert.equal(statSync(`${path}.content`).nlink, 1);
  }
  assert.deepEqual(inSpool(bench), []);
  assert.equal(await bench.draft.commitIfLeft(), false);
  assert.deepEqual(bench.details(), [
    `filter [copy:]: [${bench.draft.id}]: copied to [alice] [bob]`,
  ]);
});

test("copy: makes files of mode 0660 whatever the umask", async () => {
  await using bench = await benchWith("alice");
  makeMaildir(bench.spool.directory, "carl");
  const old = process.umask(0o077);
  try {
    await bench.run(copyFilter("", bench.terms));
  } finally {
    process.umask(old);
  }
  const paths = both(bench).map((name) => join(bench.spool.directory, "alice", name));
  const maildir = join(bench.spool.directory, "carl", "new");
  for (const path of [...paths, ...readdirSync(maildir).map((name) => join(maildir, name))]) {
    assert.equal(statSync(path).mode & 0o7777, 0o660, path);
  }
});

test("copy: leaves out postmaster, hidden directories, files and links to directories", async () => {
  await using bench = await benchWith("alice", "postmaster", ".hidden");
  await using other = await benchWith("outside");
  bench.spool.put("notes", "not a directory");
  symlinkSync(join(other.spool.directory, "outside"), join(bench.spool.directory, "bob"));
  assert.deepEqual(await bench.run(copyFilter("", bench.terms)), ABANDON);
  assert.deepEqual(mailbox(bench, "alice"), both(bench));
  for (const name of ["postmaster", ".hidden", "bob"]) assert.deepEqual(mailbox(bench, name), []);
});

test("copy: without any mailbox passes, and the message stays", async () => {
  await using bench = await benchWith("postmaster");
  assert.deepEqual(await bench.run(copyFilter("", bench.terms)), OK);
  await bench.draft.commit();
  assert.deepEqual(inSpool(bench), both(bench));
});

test("copy:nodelete passes and leaves the originals", async () => {
  for (const params of ["nodelete", "n"]) {
    await using bench = await benchWith("alice");
    assert.deepEqual(await bench.run(copyFilter(params, bench.terms)), OK);
    await bench.draft.commit();
    assert.deepEqual(inSpool(bench), both(bench));
    assert.deepEqual(mailbox(bench, "alice"), both(bench));
  }
});

test("copy:pop gives the envelope only; the content stays in the spool", async () => {
  for (const params of ["pop", "p"]) {
    await using bench = await benchWith("alice", "bob");
    assert.deepEqual(await bench.run(copyFilter(params, bench.terms)), ABANDON);
    assert.equal(await bench.draft.commitIfLeft(), false);
    await bench.store.recover();
    assert.deepEqual(inSpool(bench), [`${bench.draft.id}.content`]);
    assert.deepEqual(mailbox(bench, "bob"), [`${bench.draft.id}.envelope`]);
  }
});

test("copy:pop gives a maildir the content, and keeps none that nobody needs", async () => {
  await using bench = await filterBench();
  const maildir = makeMaildir(bench.spool.directory, "carl");
  assert.deepEqual(await bench.run(copyFilter("pop", bench.terms)), ABANDON);
  assert.equal(readdirSync(join(maildir, "new")).length, 1);
  assert.deepEqual(inSpool(bench), []);
});

test("copy:hardlink links the content, and copies the envelope", async () => {
  for (const params of ["hardlink;nodelete", "h;n", "nodelete;hardlink"]) {
    await using bench = await benchWith("alice", "bob");
    await bench.run(copyFilter(params, bench.terms));
    const path = join(bench.spool.directory, "alice", bench.draft.id);
    assert.equal(statSync(`${path}.content`).nlink, 3);
    assert.equal(statSync(`${path}.envelope`).nlink, 1);
  }
});

test("copy: into a maildir puts the content, under a name as maildir(5) wants it", async () => {
  await using bench = await filterBench();
  const maildir = makeMaildir(bench.spool.directory, "carl");
  assert.deepEqual(await bench.run(copyFilter("", bench.terms)), ABANDON);
  const [name = "", ...others] = readdirSync(join(maildir, "new"));
  assert.deepEqual(others, []);
  assert.match(name, /^\d{10,}\.\d{1,6}\.\d+\.[^/:]+\.\d+$/);
  assert.equal(readFileSync(join(maildir, "new", name), "utf8"), CONTENT);
  assert.deepEqual(readdirSync(join(maildir, "tmp")), []);
  assert.deepEqual(readdirSync(maildir).sort(), ["cur", "new", "tmp"]);
});

test("copy: copies content larger than any buffer byte for byte", async () => {
  const content = Buffer.alloc(1_500_000, "0123456789\r\n.\r\n\xff", "latin1");
  await using bench = await filterBench({}, content);
  mkdirSync(join(bench.spool.directory, "alice"));
  await bench.run(copyFilter("", bench.terms));
  const copy = readFileSync(join(bench.spool.directory, "alice", `${bench.draft.id}.content`));
  assert.ok(copy.equals(content));
});

test("copy: fails and takes back every copy when one mailbox cannot be used", async () => {
  await using bench = await benchWith("alice", "zed");
  const maildir = makeMaildir(bench.spool.directory, "carl");
  const path = join(bench.spool.directory, "zed", `${bench.draft.id}.envelope`);
  mkdirSync(path); // Something is in the way.
  const result = await bench.run(copyFilter("", bench.terms));
  assert.equal(result.verdict, "fail");
  assert.equal(result.response, "rejected");
  assert.equal(result.code, 0);
  assert.match(result.reason, /^cannot deliver to ".*\/zed": /);
  assert.deepEqual(mailbox(bench, "alice"), []);
  assert.deepEqual(readdirSync(join(maildir, "new")), []);
  assert.deepEqual(mailbox(bench, "zed"), [`${bench.draft.id}.envelope`]);
  await bench.draft.commit();
  assert.deepEqual(inSpool(bench), both(bench));
});

test("copy: never follows a link inside a maildir", async () => {
  await using bench = await filterBench();
  await using other = await benchWith("outside");
  const outside = join(other.spool.directory, "outside");
  const maildir = makeMaildir(bench.spool.directory, "carl");
  rmdirSync(join(maildir, "new"));
  symlinkSync(outside, join(maildir, "new"));
  const result = await bench.run(copyFilter("", bench.terms));
  assert.match(result.reason, /^cannot deliver to ".*\/carl\/new": not a directory$/);
  assert.deepEqual(readdirSync(outside), []);
});

test("copy: takes content and envelope for missing when they are links", async () => {
  for (const which of ["content", "envelope"] as const) {
    await using bench = await benchWith("alice");
    const secret = join(bench.spool.directory, "secret");
    writeFileSync(secret, "for nobody");
    rmSync(bench.draft.files()[which]);
    symlinkSync(secret, bench.draft.files()[which]);
    const result = await bench.run(copyFilter("hardlink", bench.terms));
    assert.equal(result.verdict, "fail");
    assert.deepEqual(mailbox(bench, "alice"), []);
  }
});

test("copyFilter() throws CONFIG_INVALID for other words", async () => {
  await using bench = await benchWith();
  for (const params of ["x", "pop,nodelete", "POP", "delete", "pop;x", "pn"]) {
    assert.throws(() => copyFilter(params, bench.terms), { code: "CONFIG_INVALID" }, params);
  }
  assert.equal(copyFilter("p;h;n", bench.terms).id, "copy:");
});
