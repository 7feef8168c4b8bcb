import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { failedEnvelope, needs, putFailed, tempTree } from "./temp-tree.ts";

const skip = needs("dash");
const script = "scripts/relayd-resubmit.sh";

test("relayd-resubmit.sh resubmits what failed up to four times and keeps what failed five times", {
  skip,
}, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "emailrelay.1.1.1", { failures: 0 });
  await putFailed(tree.spool, "emailrelay.1.1.2", { failures: 4 });
  await putFailed(tree.spool, "emailrelay.1.1.3", { failures: 5 });
  const done = await tree.run(script, [tree.spool]);
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  assert.deepEqual((await readdir(tree.spool)).sort(), [
    "emailrelay.1.1.1.content",
    "emailrelay.1.1.1.envelope",
    "emailrelay.1.1.2.content",
    "emailrelay.1.1.2.envelope",
    "emailrelay.1.1.3.content",
    "emailrelay.1.1.3.envelope.bad",
  ]);
  const envelope = await readFile(join(tree.spool, "emailrelay.1.1.2.envelope"), "utf8");
  assert.equal(envelope, failedEnvelope("me@example.test", 4));
});

test("relayd-resubmit.sh counts no addresses that look like reasons", { skip }, async () => {
  await using tree = await tempTree();
  const from = "MailRelay-Reason:@example.test";
  await putFailed(tree.spool, "a", { from, failures: 4 });
  await tree.run(script, [tree.spool]);
  assert.ok((await readdir(tree.spool)).includes("a.envelope"));
});

test("relayd-resubmit.sh takes any file name that a message can have", { skip }, async () => {
  await using tree = await tempTree();
  const ids = ["a b", "-n", "new\nline", "$(touch x)`touch y`", "quote'\"", "*", "ü\xff"];
  for (const id of ids) await putFailed(tree.spool, id);
  const done = await tree.run(script, [tree.spool]);
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  const expected = ids.flatMap((id) => [`${id}.content`, `${id}.envelope`]);
  assert.deepEqual((await readdir(tree.spool)).sort(), expected.sort());
});

test("relayd-resubmit.sh never replaces another envelope of the message", { skip }, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a");
  await putFailed(tree.spool, "b");
  await putFailed(tree.spool, "c");
  await writeFile(join(tree.spool, "a.envelope"), "waiting");
  await writeFile(join(tree.spool, "b.envelope.busy"), "leased");
  const done = await tree.run(script, [tree.spool]);
  assert.equal(done.status, 1);
  assert.match(done.stderr, /relayd-resubmit\.sh: cannot resubmit a\.envelope\.bad: /);
  assert.match(done.stderr, /relayd-resubmit\.sh: cannot resubmit b\.envelope\.bad: /);
  assert.equal(await readFile(join(tree.spool, "a.envelope"), "utf8"), "waiting");
  assert.deepEqual((await readdir(tree.spool)).sort(), [
    "a.content",
    "a.envelope",
    "a.envelope.bad",
    "b.content",
    "b.envelope.bad",
    "b.envelope.busy",
    "c.content",
    "c.envelope",
  ]);
});

test("relayd-resubmit.sh leaves links, fifos and directories alone", { skip }, async () => {
  await using tree = await tempTree();
  await symlink("/etc/passwd", join(tree.spool, "a.envelope.bad"));
  execFileSync("mkfifo", [join(tree.spool, "b.envelope.bad")]);
  await mkdir(join(tree.spool, "c.envelope.bad"));
  const before = await readdir(tree.spool);
  const done = await tree.run(script, [tree.spool]);
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  assert.deepEqual(await readdir(tree.spool), before);
});

test("relayd-resubmit.sh says nothing about an empty spool", { skip }, async () => {
  await using tree = await tempTree();
  const done = await tree.run(script, [tree.spool]);
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  assert.deepEqual(await readdir(tree.spool), []);
});

test("relayd-resubmit.sh refuses what is no directory", { skip }, async () => {
  await using tree = await tempTree();
  const done = await tree.run(script, [join(tree.root, "missing")]);
  assert.equal(done.stderr, "relayd-resubmit.sh: invalid spool directory\n");
  assert.equal(done.status, 1);
});

test("relayd-resubmit.sh works on relayd's spool when none is named", { skip }, async () => {
  await using tree = await tempTree();
  await mkdir(join(tree.root, "var/spool/emailrelay"));
  await putFailed(tree.spool, "a");
  assert.equal((await tree.run(script)).status, 0);
  assert.deepEqual((await readdir(tree.spool)).sort(), ["a.content", "a.envelope"]);
});

test("relayd-resubmit.sh works on E-MailRelay's spool where only that exists", {
  skip,
}, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a");
  const other = join(tree.root, "var/spool/emailrelay");
  await rename(tree.spool, other);
  assert.equal((await tree.run(script)).status, 0);
  assert.deepEqual((await readdir(other)).sort(), ["a.content", "a.envelope"]);
  await rm(other, { recursive: true });
  assert.equal((await tree.run(script)).status, 1);
});
