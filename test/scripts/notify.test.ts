import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { needs, putFailed, type TempTree, tempTree } from "./temp-tree.ts";

const skip = needs("dash");
const script = "scripts/relayd-notify.sh";

/** A delivery program that keeps its arguments and the mail, and ends with this status. */
async function deliverer(tree: TempTree, name: string, status = 0): Promise<string> {
  return await tree.program(
    name,
    `#!/bin/sh\nprintf '%s\\n' "$@" >'${tree.root}/args'\ncat >'${tree.root}/mail'\nexit ${status}\n`,
  );
}

async function fileIn(tree: TempTree, name: string): Promise<string> {
  return await readFile(join(tree.root, name), "utf8");
}

test("relayd-notify.sh pipes the notice to procmail for the sender and removes the message", {
  skip,
}, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "emailrelay.1.1.1");
  await deliverer(tree, "procmail");
  const done = await tree.run(script, [tree.spool]);
  assert.equal(done.stderr, "");
  assert.equal(
    done.stdout,
    "relayd-notify.sh: delivering emailrelay.1.1.1.content to me@example.test\n",
  );
  assert.equal(done.status, 0);
  assert.equal(await fileIn(tree, "args"), "-d\nme@example.test\n");
  const mail = await fileIn(tree, "mail");
  assert.match(mail, /^To: .*me@example\.test/m);
  assert.match(mail, /^Subject: Your e-mail could not be delivered/m);
  assert.match(mail, /Reason: no such mailbox/);
  assert.match(mail, /message\/rfc822/);
  assert.deepEqual(await readdir(tree.spool), []);
});

test("relayd-notify.sh tells root when the sender is empty", { skip }, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a", { from: "" });
  await deliverer(tree, "procmail");
  const done = await tree.run(script, [tree.spool]);
  assert.equal(done.status, 0);
  assert.equal(await fileIn(tree, "args"), "-d\nroot\n");
  assert.deepEqual(await readdir(tree.spool), []);
});

test("relayd-notify.sh gives no sender to a program as an option", { skip }, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a", { from: "-oQ/tmp@example.test" });
  await deliverer(tree, "procmail");
  await tree.run(script, [tree.spool]);
  assert.equal(await fileIn(tree, "args"), "-d\nroot\n");
});

test("relayd-notify.sh keeps a message whose notice could not be delivered", { skip }, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a");
  await deliverer(tree, "procmail", 67);
  const done = await tree.run(script, [tree.spool]);
  assert.equal(done.status, 1);
  assert.match(done.stderr, /cannot deliver to me@example\.test: a\.content stays/);
  assert.deepEqual((await readdir(tree.spool)).sort(), ["a.content", "a.envelope.bad"]);
});

test("relayd-notify.sh keeps a message whose notice could not be made", { skip }, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a");
  await deliverer(tree, "procmail");
  await tree.program(
    "broken",
    "#!/bin/sh\n[ $# -eq 2 ] || { echo root; exit 0; }\necho half\nexit 1\n",
  );
  const done = await tree.run(script, [tree.spool], { RELAYD_NOTICE: "broken" });
  assert.equal(done.status, 1);
  assert.match(done.stderr, /cannot make a notice of a\.content/);
  assert.deepEqual((await readdir(tree.spool)).sort(), ["a.content", "a.envelope.bad"]);
  await assert.rejects(fileIn(tree, "mail"), { code: "ENOENT" });
});

test("relayd-notify.sh -d sendmail uses the null sender", { skip }, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a b");
  const sendmail = await deliverer(tree, "mailer");
  const done = await tree.run(script, ["-d", "sendmail", tree.spool], { SENDMAIL: sendmail });
  assert.equal(done.status, 0);
  assert.equal(await fileIn(tree, "args"), "-i\n-f\n<>\nme@example.test\n");
  assert.deepEqual(await readdir(tree.spool), []);
});

test("relayd-notify.sh -d relayd puts the notice into the spool with the null sender", {
  skip,
}, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a");
  const done = await tree.run(script, ["-d", "relayd", tree.spool]);
  assert.equal(done.stderr, "");
  assert.equal(done.status, 0);
  const files = (await readdir(tree.spool)).filter((name) => !name.startsWith(".")).sort();
  assert.equal(files.length, 2);
  const envelope = await readFile(join(tree.spool, files[1] ?? ""), "utf8");
  assert.match(files[1] ?? "", /\.envelope$/);
  assert.match(envelope, /^X-MailRelay-From: \r$/m);
  assert.match(envelope, /^X-MailRelay-To-Remote: me@example\.test\r$/m);
  const content = await readFile(join(tree.spool, files[0] ?? ""), "utf8");
  assert.match(content, /^Subject: Your e-mail could not be delivered/m);
});

test("relayd-notify.sh -d relayd makes no notice about a notice", { skip }, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a", { from: "", subject: "Your e-mail could not be delivered" });
  const done = await tree.run(script, ["-d", "relayd", tree.spool]);
  assert.match(done.stderr, /leaving a\.content: it is a notice itself/);
  assert.equal(done.status, 0);
  assert.deepEqual((await readdir(tree.spool)).sort(), ["a.content", "a.envelope.bad"]);
});

test("relayd-notify.sh -r sends delivery reports", { skip }, async () => {
  await using tree = await tempTree();
  await putFailed(tree.spool, "a");
  await deliverer(tree, "procmail");
  const done = await tree.run(script, ["-r", tree.spool]);
  assert.deepEqual([done.status, done.stderr], [0, ""]);
  const mail = await fileIn(tree, "mail");
  assert.match(mail, /^Subject: Returned mail: see transcript for details\r$/m);
  assert.match(mail, /^Diagnostic-Code: smtp; 550 no such mailbox\r$/m);
  assert.deepEqual(await readdir(tree.spool), []);
});

test("relayd-notify.sh leaves everything but failed messages alone", { skip }, async () => {
  await using tree = await tempTree();
  await deliverer(tree, "procmail");
  const done = await tree.run(script, [tree.spool]);
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  await assert.rejects(fileIn(tree, "mail"), { code: "ENOENT" });
});

test("relayd-notify.sh refuses what is no directory and what is no delivery", {
  skip,
}, async () => {
  await using tree = await tempTree();
  const missing = await tree.run(script, [join(tree.root, "missing")]);
  assert.equal(missing.stderr, "relayd-notify.sh: invalid spool directory\n");
  assert.equal(missing.status, 1);
  const pigeon = await tree.run(script, ["-d", "pigeon", tree.spool]);
  assert.match(pigeon.stderr, /^usage: relayd-notify\.sh /);
  assert.equal(pigeon.status, 2);
});
