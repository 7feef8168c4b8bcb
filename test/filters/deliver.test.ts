import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { deliverFilter } from "../../src/filters/deliver.ts";
import { ABANDON, OK } from "../../src/filters/item.ts";
import { CONTENT, type FilterBench, filterBench, makeMaildir } from "../support/spool-filter.ts";

const LOCAL_ONLY = { toLocal: ["alice", "bob", "alice"], toRemote: [] };

function both(bench: FilterBench): string[] {
  return [`${bench.draft.id}.content`, `${bench.draft.id}.envelope`];
}

/** Files of the spool that are not mailboxes. */
function inSpool(bench: FilterBench): string[] {
  return bench.spool.names().filter((name) => name.startsWith("emailrelay."));
}

test("deliver: makes the mailboxes, copies both files into each, and removes the originals", async () => {
  await using bench = await filterBench(LOCAL_ONLY);
  const envelope = readFileSync(bench.draft.files().envelope);
  assert.deepEqual(await bench.run(deliverFilter("", bench.terms)), ABANDON);
  for (const name of ["alice", "bob"]) {
    const path = join(bench.spool.directory, name);
    assert.deepEqual(readdirSync(path).sort(), both(bench));
    assert.equal(readFileSync(join(path, `${bench.draft.id}.content`), "utf8"), CONTENT);
    assert.deepEqual(readFileSync(join(path, `${bench.draft.id}.envelope`)), envelope);
  }
  assert.deepEqual(inSpool(bench), []);
  assert.equal(await bench.draft.commitIfLeft(), false);
});

test("deliver: makes directories of mode 0770 whatever the umask, with the inherited set-group-id bit", async () => {
  await using bench = await filterBench(LOCAL_ONLY);
  chmodSync(bench.spool.directory, 0o2770);
  const old = process.umask(0o077);
  try {
    await bench.run(deliverFilter("", bench.terms));
  } finally {
    process.umask(old);
  }
  assert.equal(statSync(join(bench.spool.directory, "alice")).mode & 0o7777, 0o2770);
});

test("deliver: keeps a message that has remote recipients too", async () => {
  await using bench = await filterBench({ toLocal: ["alice"] });
  assert.deepEqual(await bench.run(deliverFilter("", bench.terms)), OK);
  await bench.draft.commit();
  assert.deepEqual(inSpool(bench), both(bench));
  assert.deepEqual(readdirSync(join(bench.spool.directory, "alice")).sort(), both(bench));
});

test("deliver:nodelete and deliver:hardlink do what they say, by word and by letter", async () => {
  for (const params of ["nodelete;hardlink", "n;h"]) {
    await using bench = await filterBench(LOCAL_ONLY);
    assert.deepEqual(await bench.run(deliverFilter(params, bench.terms)), OK);
    assert.equal(statSync(bench.draft.files().content).nlink, 3);
  }
});

test("deliver: without local recipients passes, also when there are no recipients at all", async () => {
  for (const toRemote of [["bob@example.net"], []]) {
    await using bench = await filterBench({ toRemote });
    assert.deepEqual(await bench.run(deliverFilter("", bench.terms)), OK);
    await bench.draft.commit();
    assert.deepEqual(inSpool(bench), both(bench));
  }
});

test("deliver: goes to the delivery directory, and into maildirs there", async () => {
  await using bench = await filterBench(LOCAL_ONLY);
  const base = mkdtempSync(join(tmpdir(), "relayd-mailboxes-"));
  try {
    const maildir = makeMaildir(base, "bob");
    const terms = { ...bench.terms, deliveryDirectory: base };
    assert.deepEqual(await bench.run(deliverFilter("", terms)), ABANDON);
    assert.deepEqual(readdirSync(join(base, "alice")).sort(), both(bench));
    const [name = ""] = readdirSync(join(maildir, "new"));
    assert.equal(readFileSync(join(maildir, "new", name), "utf8"), CONTENT);
    assert.deepEqual(inSpool(bench), []);
  } finally {
    rmSync(base, { recursive: true });
  }
});

test("deliver: fails, and leaves everything as it was, when the delivery directory is missing", async () => {
  await using bench = await filterBench(LOCAL_ONLY);
  const terms = { ...bench.terms, deliveryDirectory: join(bench.spool.directory, "nowhere") };
  const result = await bench.run(deliverFilter("", terms));
  assert.equal(result.verdict, "fail");
  assert.match(result.reason, /nowhere.*no such file or directory/);
  assert.equal(inSpool(bench).length, 2);
});

test("deliver: refuses names that lead elsewhere or mean something else, before it copies anything", async () => {
  const names = [
    "../x",
    "a/b",
    "/etc",
    ".",
    "..",
    ".relayd",
    "",
    "a\u007fb",
    "a\u0085b",
    "a\u2028b",
  ];
  for (const bad of [...names, "x".repeat(256), "x.content", "x.envelope.bad"]) {
    await using bench = await filterBench({ toLocal: ["alice"], toRemote: [] });
    const { editor } = bench.terms;
    const terms = {
      ...bench.terms,
      editor: {
        ...spread(editor),
        readEnvelope: async (path: string) => ({
          ...(await editor.readEnvelope(path)),
          toLocal: ["alice", bad],
        }),
      },
    };
    const result = await bench.run(deliverFilter("", terms));
    assert.equal(result.verdict, "fail", JSON.stringify(bad));
    assert.match(result.reason, /^invalid mailbox name "/);
    assert.deepEqual(bench.spool.names().length, 2);
  }
});

/** The methods of an object of a class, bound. */
function spread(editor: FilterBench["terms"]["editor"]): FilterBench["terms"]["editor"] {
  return {
    readEnvelope: editor.readEnvelope.bind(editor),
    writeEnvelope: editor.writeEnvelope.bind(editor),
    addMessage: editor.addMessage.bind(editor),
    splitMessage: editor.splitMessage.bind(editor),
    folders: editor.folders.bind(editor),
    distribute: editor.distribute.bind(editor),
    readStart: editor.readStart.bind(editor),
    prepend: editor.prepend.bind(editor),
    serial: editor.serial.bind(editor),
  };
}

test("deliver: fails for a mailbox that is a link or a file, and takes back the other copies", async () => {
  await using bench = await filterBench(LOCAL_ONLY);
  await using other = await filterBench();
  const outside = join(other.spool.directory, "outside");
  mkdirSync(outside);
  symlinkSync(outside, join(bench.spool.directory, "bob"));
  const linked = await bench.run(deliverFilter("", bench.terms));
  assert.match(linked.reason, /^cannot deliver to ".*\/bob": not a directory$/);
  assert.deepEqual(readdirSync(outside), []);
  rmSync(join(bench.spool.directory, "bob"));
  bench.spool.put("bob", "a file");
  const blocked = await bench.run(deliverFilter("", bench.terms));
  assert.match(blocked.reason, /^cannot deliver to ".*\/bob": not a directory$/);
  assert.deepEqual(readdirSync(join(bench.spool.directory, "alice")), []);
  assert.equal(inSpool(bench).length, 2);
});

test("deliver: takes names in any script", async () => {
  await using bench = await filterBench({ toLocal: ["jörg", "用户", "a b"], toRemote: [] });
  assert.deepEqual(await bench.run(deliverFilter("", bench.terms)), ABANDON);
  assert.deepEqual(readdirSync(join(bench.spool.directory, "用户")).sort(), both(bench));
});

test("deliver: names the file and the fault of an envelope that it cannot read", async () => {
  await using bench = await filterBench(LOCAL_ONLY);
  bench.spool.put(`${bench.draft.id}.envelope.new`, "X-MailRelay-Format: #2821.8\r\n");
  const result = await bench.run(deliverFilter("", bench.terms));
  assert.match(result.reason, /^cannot read ".*\.envelope\.new": expected "X-MailRelay-Content:"$/);
});

test("two deliveries into a new mailbox at a time both arrive", async () => {
  await using first = await filterBench(LOCAL_ONLY);
  const draft = await first.store.create();
  await draft.write(Buffer.from(CONTENT));
  await draft.seal(await first.draft.reread());
  const item = deliverFilter("", first.terms);
  const signal = new AbortController().signal;
  const results = await Promise.all([
    first.run(item),
    item.run({ id: draft.id, files: draft.files() }, signal),
  ]);
  assert.deepEqual(results, [ABANDON, ABANDON]);
  assert.equal(readdirSync(join(first.spool.directory, "alice")).length, 4);
  assert.equal(await draft.commitIfLeft(), false);
});

test("deliverFilter() throws CONFIG_INVALID for other words", async () => {
  await using bench = await filterBench();
  for (const params of ["pop", "p", "x", "hardlink nodelete"]) {
    assert.throws(() => deliverFilter(params, bench.terms), { code: "CONFIG_INVALID" }, params);
  }
  assert.equal(deliverFilter("", bench.terms).id, "deliver:");
});
