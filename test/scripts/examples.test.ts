import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { editExample, example, filterStage, runReduced } from "./filter-stage.ts";
import { failedEnvelope, needs, project, tempTree } from "./temp-tree.ts";

const run = promisify(execFile);
/** What no filter may touch: dots, blanks at line ends, eight bits, a header-like body, no last line end. */
const BODY =
  "\r\nFrom: body\r\nBcc: body\r\nMessage-ID: <body>\r\n.dot\r\ntrail \t \r\n\xff\xe9\r\n\r\nend";

test("shellcheck finds nothing in the examples", { skip: needs("shellcheck") }, async () => {
  const names = await readdir(example(""));
  await run("shellcheck", ["-s", "sh", ...names], { cwd: example("") });
});

test("every example is executable, is in docs/examples.md, and is named by a test", async () => {
  const page = await readFile(join(project, "docs/examples.md"), "utf8");
  const folder = join(project, "test/scripts");
  const tests = (await readdir(folder)).filter((name) => /^examples.*\.test\.ts$/.test(name));
  const texts = await Promise.all(tests.map(async (name) => await readFile(join(folder, name))));
  for (const name of await readdir(example(""))) {
    assert.ok(((await stat(example(name))).mode & 0o111) !== 0, name);
    assert.ok(page.includes(`\`${name}\``), `${name} in docs/examples.md`);
    assert.ok(
      texts.some((text) => text.includes(`"${name}"`)),
      `a test of ${name}`,
    );
  }
});

test("filter-edit-from.sh replaces From and sender, and keeps the author in Reply-To", async () => {
  const before = "Received: x\r\nSubject: s \r\n";
  const author = 'fRoM : "O\'Brien, A" <a@b.test>,\r\n\tSecond\r\n';
  await using stage = await filterStage(`${before}${author}To: x\r\n${BODY}`);
  const done = await stage.filter(example("filter-edit-from.sh"));
  assert.deepEqual(done, { status: 0, stdout: "", stderr: "" });
  const { content, envelope } = await stage.message();
  const reply = 'Reply-To: "O\'Brien, A" <a@b.test>,\r\n\tSecond\r\n';
  const from = "From: Example Office <office@example.com>\r\n";
  assert.equal(content, `${before}${from}${reply}To: x\r\n${BODY}`);
  assert.equal(envelope, failedEnvelope("office@example.com", 0));
  assert.equal((await stage.files()).length, 2);
  assert.equal((await stat(stage.content)).mode & 0o777, 0o660);
});

test("filter-edit-from.sh keeps a Reply-To and the null sender", async () => {
  await using stage = await filterStage(`From: a@b\r\nReply-To: c@d\r\n${BODY}`, "");
  assert.equal((await stage.filter(example("filter-edit-from.sh"))).status, 0);
  const { content, envelope } = await stage.message();
  const from = "From: Example Office <office@example.com>\r\n";
  assert.equal(content, `${from}Reply-To: c@d\r\n${BODY}`);
  assert.equal(envelope, failedEnvelope("", 0));
});

test("filter-edit-from.sh takes any characters in its settings, and adds a missing From", async () => {
  await using stage = await filterStage(`Subject: s\r\n${BODY}`);
  const strange = "a&b\\1|/%s$x@example.com";
  const script = await stage.edited("filter-edit-from.sh", {
    from: `<${strange}>`,
    sender: strange,
  });
  assert.equal((await stage.filter(script)).status, 0);
  const { content, envelope } = await stage.message();
  assert.equal(content, `From: <${strange}>\r\nSubject: s\r\n${BODY}`);
  assert.equal(envelope, failedEnvelope(strange, 0));
});

test("filter-edit-from.sh refuses two From headers", async () => {
  const text = `From: a@b\r\nFrom: c@d\r\n${BODY}`;
  await using stage = await filterStage(text);
  const done = await stage.filter(example("filter-edit-from.sh"));
  assert.equal(done.status, 1);
  assert.equal(done.stdout, "<<550 the message has more than one From header>>\n");
  assert.equal((await stage.message()).content, text);
});

test("filter-message-id.sh adds one line, once", async () => {
  const text = `Subject: s\r\n${BODY}`;
  await using stage = await filterStage(text);
  assert.deepEqual(await stage.filter(example("filter-message-id.sh")), {
    status: 0,
    stdout: "",
    stderr: "",
  });
  const { content } = await stage.message();
  assert.match(
    content,
    /^Message-ID: <emailrelay\.1\.1700000000\.1\.[0-9a-f]{16}@example\.com>\r\n/,
  );
  assert.equal(content.slice(content.indexOf("\n") + 1), text);
  assert.equal((await stage.filter(example("filter-message-id.sh"))).status, 0);
  assert.equal((await stage.message()).content, content);
  assert.equal((await stage.files()).length, 2);
});

test("filter-refuse-bcc.sh refuses a Bcc header, folded too, and nothing else", async () => {
  const verdict = async (text: string) => {
    await using stage = await filterStage(text);
    const { status, stdout } = await stage.filter(example("filter-refuse-bcc.sh"));
    assert.equal((await stage.message()).content, text);
    return `${status} ${stdout}`;
  };
  const refused = "1 <<550 the message has a Bcc header>>\n<<Bcc header>>\n";
  assert.equal(await verdict(`To: a\r\nbcc: x@y\r\n${BODY}`), refused);
  assert.equal(await verdict(`BCC :\r\n  x@y\r\n${BODY}`), refused);
  assert.equal(await verdict(`Bcc: \r\nTo: a\r\n${BODY}`), "0 ");
  assert.equal(await verdict(`X-Bcc: a\r\nTo: a\r\n\tBcc: a\r\n${BODY}`), "0 ");
});

test("the filters ask the client to try again when they cannot do their work", async () => {
  const names = (await readdir(example(""))).filter((name) => name.startsWith("filter-"));
  assert.equal(names.length, 4);
  for (const name of names) {
    await using stage = await filterStage(`Subject: s\r\n${BODY}`);
    await rm(stage.content);
    const { status, stdout } = await stage.filter(example(name));
    assert.equal(status, 1, name);
    assert.match(stdout, /^<<451 [^>]+>>\n<<[^>]+>>\n$/, name);
    assert.equal((await stage.files()).length, 1, name);
  }
});

test("deny-ip.sh, as a filter and as a verifier, refuses the clients on its list", async () => {
  await using stage = await filterStage("Subject: s\r\n\r\n");
  const list = join(stage.spool, "../denied");
  const script = await stage.edited("deny-ip.sh", { list });
  const as = async (text: string) => {
    await writeFile(list, text);
    const filter = await stage.filter(script);
    const more = ["relay.test", "none", ""];
    const verifier = await runReduced([script, "a'$(id)@b", "c@d", "127.0.0.1:99", ...more]);
    return [filter.status, filter.stdout, verifier.status, verifier.stdout];
  };
  const text = "your address is on the list of denied clients";
  const why = "denied client 127.0.0.1";
  const denied = [1, `<<554 ${text}>>\n<<${why}>>\n`, 2, `${text}\n${why}\n`];
  const welcome = [0, "", 1, "\na'$(id)@b\n"];
  assert.deepEqual(await as("192.0.2.1\n127.0.0.1 # us\n"), denied);
  assert.deepEqual(await as("127.0.0.*#remark"), denied);
  assert.deepEqual(await as("#127.0.0.1\n\n12?.0.0.2\n27.0.0.1\n"), welcome);
  await rm(list);
  const missing = await stage.filter(script);
  assert.deepEqual([missing.status, missing.stdout.slice(0, 6)], [1, "<<451 "]);
  const unsure = await runReduced([script, "a@b", "", "127.0.0.1:99", "relay.test", "none", ""]);
  assert.deepEqual([unsure.status, unsure.stdout.split("\n")[0]], [3, "cannot verify now"]);
});

test("deny-ip.sh reads IPv6 clients however they are written", async () => {
  await using stage = await filterStage("Subject: s\r\n\r\n");
  const list = join(stage.spool, "../denied");
  const script = await stage.edited("deny-ip.sh", { list });
  await writeFile(list, "2001:db8:*\n");
  for (const client of ["2001:db8::1.25", "[2001:db8::1]:25"]) {
    assert.equal(
      (await runReduced([script, "a@b", "", client, "r", "none", ""])).status,
      2,
      client,
    );
  }
  assert.equal((await runReduced([script, "a@b", "", "::1.25", "r", "none", ""])).status, 1);
});

test("relayd-multicast.sh gives each mailbox the message and takes it out of the spool", async () => {
  await using stage = await filterStage(`Subject: s\r\n${BODY}`);
  for (const name of ["alice", "bob b", ".hidden"]) await mkdir(join(stage.spool, name));
  const elsewhere = join(stage.spool, "../elsewhere");
  await mkdir(elsewhere);
  await symlink(elsewhere, join(stage.spool, "link"));
  const before = await stage.message();
  const done = await stage.filter(example("relayd-multicast.sh"));
  assert.deepEqual(done, { status: 100, stdout: "", stderr: "" });
  const id = "emailrelay.1.1700000000.1";
  const copies = ["alice", "bob b"].flatMap((name) => [
    name,
    `${name}/${id}.content`,
    `${name}/${id}.envelope`,
  ]);
  assert.deepEqual(await stage.files(), [".hidden", ...copies, "link"]);
  assert.deepEqual(await readdir(elsewhere), []);
  for (const name of ["alice", "bob b"]) {
    const mailbox = join(stage.spool, name);
    assert.equal(await readFile(join(mailbox, `${id}.content`), "latin1"), before.content);
    assert.equal(await readFile(join(mailbox, `${id}.envelope`), "latin1"), before.envelope);
  }
});

test("relayd-multicast.sh lets the message pass where there are no mailboxes", async () => {
  await using stage = await filterStage("Subject: s\r\n\r\n");
  assert.equal((await stage.filter(example("relayd-multicast.sh"))).status, 0);
  assert.equal((await stage.files()).length, 2);
});

test("relayd-multicast.sh gives no mailbox anything when one cannot have it", async () => {
  await using stage = await filterStage("Subject: s\r\n\r\n");
  const id = "emailrelay.1.1700000000.1";
  await mkdir(join(stage.spool, "alice"));
  // Where the envelope should go there is a directory with something in it.
  await mkdir(join(stage.spool, `bob/${id}.envelope.new`, `${id}.envelope.new`, "x"), {
    recursive: true,
  });
  const done = await stage.filter(example("relayd-multicast.sh"));
  assert.equal(done.status, 1);
  assert.equal(done.stdout, "<<451 cannot copy the message now>>\n<<cannot copy into bob>>\n");
  const files = await stage.files();
  assert.deepEqual(
    files.filter((name) => name.startsWith("alice/") || name === `bob/${id}.content`),
    [],
  );
  assert.ok(files.includes(`${id}.content`) && files.includes(`${id}.envelope.new`));
});

for (const kind of ["content", "envelope"]) {
  test(`relayd-multicast.sh does not replace the ${kind} of another message of that id`, async () => {
    await using stage = await filterStage("Subject: s\r\n\r\n");
    const old = join(stage.spool, "bob", `emailrelay.1.1700000000.1.${kind}`);
    await mkdir(join(stage.spool, "bob"));
    await writeFile(old, "old");
    const done = await stage.filter(example("relayd-multicast.sh"));
    assert.equal(done.status, 1);
    assert.equal(await readFile(old, "latin1"), "old");
  });
}

async function submitted(args: readonly string[], input: string) {
  const tree = await tempTree();
  const script = await editExample("relayd-submit.sh", { spool: tree.spool }, tree.root);
  const letter = join(tree.root, "letter");
  await writeFile(letter, input, "latin1");
  const done = await runReduced(
    ["sh", "-c", 'input=$1; shift; exec "$@" <"$input"', "sh", letter, script, ...args],
    `${join(tree.root, "bin")}:/usr/bin:/bin`,
  );
  return { ...done, tree };
}

test("relayd-submit.sh puts a message into the mailboxes of its recipients", async () => {
  const args = ["-f", "me@example.com", "sales@example.com", "x@other.example.com"];
  const { status, stderr, tree } = await submitted(
    [...args, "alice@example.com"],
    "Subject: s\r\n\r\nbody\r\n",
  );
  await using _ = tree;
  assert.deepEqual([status, stderr], [0, ""]);
  assert.deepEqual((await readdir(tree.spool)).sort(), ["alice", "other"]);
  for (const mailbox of ["alice", "other"]) {
    const names = (await readdir(join(tree.spool, mailbox))).sort();
    assert.equal(names.length, 2);
    const [content = "", envelope = ""] = names.map((name) => join(tree.spool, mailbox, name));
    assert.match(content, /\.content$/);
    assert.match(await readFile(content, "latin1"), /Subject: s\r\n\r\nbody\r\n$/);
    assert.match(await readFile(envelope, "latin1"), /^X-MailRelay-ToCount: 3\r$/m);
    assert.equal((await stat(join(tree.spool, mailbox))).mode & 0o777, 0o775);
  }
});

test("relayd-submit.sh writes to no mailbox when a recipient has none", async () => {
  const { status, stderr, tree } = await submitted(
    ["alice@example.com", "eve@example.com"],
    "Subject: s\r\n\r\n",
  );
  await using _ = tree;
  assert.deepEqual([status, stderr], [1, "relayd-submit.sh: no mailbox for eve@example.com\n"]);
  assert.deepEqual(await readdir(tree.spool), []);
});

test("relayd-submit.sh finds the recipients in the message, a copy for each Bcc", async () => {
  const { status, tree } = await submitted(
    ["--bcc-split"],
    "To: alice@example.com\r\nBcc: bob@example.com\r\n\r\nbody\r\n",
  );
  await using _ = tree;
  assert.equal(status, 0);
  assert.deepEqual((await readdir(tree.spool)).sort(), ["alice", "bob"]);
  const [content = ""] = (await readdir(join(tree.spool, "alice"))).sort();
  assert.doesNotMatch(await readFile(join(tree.spool, "alice", content), "latin1"), /bcc/i);
});
