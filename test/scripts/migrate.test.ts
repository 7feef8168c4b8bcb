import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, chown, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { putMessage } from "../support/spool-files.ts";
import { type Finished, needs, project, putFailed, type TempTree, tempTree } from "./temp-tree.ts";

const run = promisify(execFile);
const skip = needs("dash");
const isRoot = process.getuid?.() === 0;

/** Runs the script on a configuration with these lines. `SPOOL` and `ETC` stand for directories of the tree. */
async function migrate(
  tree: TempTree,
  lines: readonly string[],
  ...options: readonly string[]
): Promise<Finished> {
  const here = (text: string) =>
    text.replaceAll("SPOOL", tree.spool).replaceAll("ETC", join(tree.root, "etc"));
  const conf = join(tree.root, "etc/emailrelay.conf");
  await writeFile(conf, lines.map((line) => `${here(line)}\n`).join(""));
  const done = await tree.run("scripts/relayd-migrate", [conf, ...options.map(here)]);
  assert.equal(done.stderr, "");
  return done;
}

const problemsOf = ({ stdout }: Finished): string[] =>
  [...stdout.matchAll(/^ {2}PROBLEM: (.*)$/gm)].map(([, text = ""]) => text);

/** What the text has between a headline and the next empty line. */
const part = ({ stdout }: Finished, headline: string): string => {
  const from = stdout.indexOf(headline);
  return from < 0 ? "" : stdout.slice(from, `${stdout}\n\n`.indexOf("\n\n", from));
};

const SAME = ["spool-dir SPOOL", "user root", "idle-timeout 1800", "port 10025"];

test("shellcheck finds nothing in relayd-migrate", { skip: needs("shellcheck") }, async () => {
  await run("shellcheck", ["-s", "sh", "scripts/relayd-migrate"], { cwd: project });
});

test("relayd-migrate finds nothing to do and nothing that changes", { skip }, async () => {
  await using tree = await tempTree();
  const done = await migrate(tree, ["# remark", "", ...SAME, 'domain = "relay.test"', "log\r"]);
  assert.equal(done.status, 0, done.stdout);
  assert.deepEqual(problemsOf(done), []);
  assert.match(done.stdout, /^ {2}relayd accepts it as it is$/m);
  assert.equal(part(done, "What will change"), "What will change\n  nothing");
  assert.match(done.stdout, /Nothing has to be done: start relayd/);
});

test("relayd-migrate names each option that relayd refuses, with its line", { skip }, async () => {
  await using tree = await tempTree();
  const done = await migrate(tree, [...SAME, "colour blue", "server-tls"], "--also-wrong");
  assert.equal(done.status, 1);
  const [problem = "", ...more] = problemsOf(done);
  assert.match(problem, /emailrelay\.conf:5: invalid option: "--colour"$|also-wrong/);
  assert.ok(more.length > 0);
  assert.match(done.stdout, /^There are \d+ problems, marked PROBLEM above\.$/m);
});

test("relayd-migrate tells of the states of the messages in the spool", { skip }, async () => {
  await using tree = await tempTree();
  putMessage(tree.spool, "emailrelay.1.1.1");
  putMessage(tree.spool, "emailrelay.1.1.2");
  await putFailed(tree.spool, "emailrelay.1.1.3");
  const file = async (name: string, text = "x") => await writeFile(join(tree.spool, name), text);
  await file("emailrelay.1.1.4.envelope.busy");
  await file("emailrelay.1.1.4.content");
  await file("emailrelay.1.1.5.envelope.new");
  await file("emailrelay.1.1.5.content");
  await file("emailrelay.1.1.6.content");
  await file("emailrelay.1.1.7.envelope", "X-MailRelay-Format: #2821.9\r\n");
  await symlink("/etc/passwd", join(tree.spool, "emailrelay.1.1.8.envelope"));
  // By-name mailboxes: the content is in the spool, the envelope is not.
  await mkdir(join(tree.spool, "alice"));
  await file("emailrelay.1.1.9.content");
  await file("alice/emailrelay.1.1.9.envelope");
  const done = await migrate(tree, SAME);
  assert.equal(done.status, 0, done.stdout);
  const said = part(done, "Spool ").split("\n").slice(1);
  assert.deepEqual(
    said.map((line) => line.trim().replace(/,.*:/, ":")),
    [
      "waiting to be forwarded: 3",
      "failed (.bad): 1",
      "locked (.busy): 1",
      "half received when E-MailRelay ended (.new): 1",
      "contents without an envelope: 1",
      "envelopes of an unknown format: 1",
      "messages without content: 1",
      "links: 1",
    ],
  );
});

test("relayd-migrate tells when the spool is missing, or is not the account's", {
  skip,
}, async () => {
  await using tree = await tempTree();
  const missing = await migrate(tree, ["spool-dir SPOOL/none", "user root"]);
  assert.equal(missing.status, 1);
  assert.equal(problemsOf(missing).length, 1);
  const nobody = await migrate(tree, [...SAME.slice(0, 1), "user no-such-account"]);
  assert.ok(problemsOf(nobody).some((text) => text.includes("no-such-account")));
  await chmod(tree.spool, 0o755);
  const foreign = await migrate(tree, ["spool-dir SPOOL", "user daemon"]);
  assert.match(part(foreign, "What will change"), /cannot be written by the account daemon/);
  if (!isRoot) return;
  await chown(tree.spool, 0, 1);
  await chmod(tree.spool, 0o2775);
  const own = await migrate(tree, ["spool-dir SPOOL", "user daemon"]);
  assert.doesNotMatch(own.stdout, /cannot be written/);
});

test("relayd-migrate says which spool to name when both programs' own are there", {
  skip,
}, async () => {
  await using tree = await tempTree();
  await mkdir(join(tree.root, "var/spool/emailrelay"));
  const done = await migrate(tree, ["user root"]);
  assert.ok(problemsOf(done).some((text) => text.startsWith("no spool-dir is given")));
});

test("relayd-migrate checks every secrets file", { skip }, async () => {
  await using tree = await tempTree();
  const secrets = async (name: string, text: string, mode = 0o600) =>
    await writeFile(join(tree.root, "etc", name), text, { mode });
  await secrets("good", "server plain alice secret\nserver none 10.0.0.0/8 lan\n");
  await secrets("md5", "client md5 me 3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE=\n");
  await secrets("old", "NONE server *.*.*.* x\nLOGIN server me pw\n");
  const uses = (file: string) => [...SAME, "log", `server-auth ETC/${file}`];
  for (const file of ["good", "md5", "old"]) {
    const done = await migrate(tree, uses(file));
    assert.deepEqual(problemsOf(done), [], file);
  }
  await secrets("open", "server plain alice secret\n", 0o644);
  await secrets("wrong", "server plain alice\nservant plain a b\n");
  const open = problemsOf(await migrate(tree, uses("open")));
  assert.deepEqual([open.length, /readable by everybody/.test(open[0] ?? "")], [1, true]);
  const wrong = problemsOf(await migrate(tree, uses("wrong")));
  assert.deepEqual(wrong.length, 2, wrong.join("\n"));
  assert.equal(problemsOf(await migrate(tree, uses("none"))).length, 1);
  const client = await migrate(tree, [...SAME, "forward-to 127.0.0.1:25", "client-auth ETC/wrong"]);
  assert.equal(problemsOf(client).length, 2);
});

test("relayd-migrate checks the secrets of POP too", { skip }, async () => {
  await using tree = await tempTree();
  await writeFile(join(tree.root, "etc/pop"), "server plain alice\n", { mode: 0o600 });
  const done = await migrate(tree, [...SAME, "pop", "pop-auth ETC/pop"]);
  const about = problemsOf(done).filter((text) => text.includes("too few fields"));
  assert.equal(about.length, 1, done.stdout);
});

test("relayd-migrate checks that filters and verifiers can be run", { skip }, async () => {
  await using tree = await tempTree();
  const program = async (name: string, text: string, mode: number) => {
    await writeFile(join(tree.root, "etc", name), text);
    await chmod(join(tree.root, "etc", name), mode);
  };
  await program("fine", "#!/bin/sh\nemailrelay-submit --help\n", 0o755);
  await program("plain", "#!/bin/sh\n", 0o644);
  await program("bare", "exit 0\n", 0o755);
  await program("lost", "#! /opt/no/perl -w\n", 0o755);
  const filters = "filter msgid:,ETC/fine,file:ETC/plain,ETC/lost,ETC/bare,/bin/true,exit:0";
  const done = await migrate(tree, [...SAME, filters, "address-verifier ETC/none"]);
  const etc = join(tree.root, "etc");
  const problems = problemsOf(done).filter((text) => text.includes(etc));
  assert.deepEqual(
    problems.filter((text) => !text.includes("emailrelay.conf")),
    [
      `not executable: ${etc}/plain`,
      `${etc}/lost needs /opt/no/perl, which is not there`,
      `neither a binary nor a script that begins with #!: ${etc}/bare`,
      `no such program: ${etc}/none`,
    ],
  );
  const programs = part(done, "Filters and verifiers");
  assert.match(programs, /msgid: \(filter\): built in/);
  assert.match(programs, /it calls emailrelay-submit: keep that program/);
});

test("relayd-migrate says what will change for the options in use, and only for those", {
  skip,
}, async () => {
  await using tree = await tempTree();
  const changed = async (lines: readonly string[], ...options: readonly string[]) =>
    [
      ...part(await migrate(tree, lines, ...options), "What will change").matchAll(
        /^ {2}- ([a-z-]+)(?=[:, ])/gm,
      ),
    ].map(([, option]) => option);
  assert.deepEqual(await changed(["spool-dir SPOOL", "user root"]), ["idle-timeout"]);
  assert.deepEqual(
    await changed([...SAME, "forward-to 127.0.0.1:25", "immediate", "debug", "log"]),
    ["response-timeout", "forward-to", "forward-to-all", "immediate", "debug"],
  );
  const pam = await changed([...SAME, "log", "server-auth pam:ETC/none"]);
  assert.deepEqual(pam, ["server-auth", "server-auth"]);
  const some = ["forward-to 127.0.0.1:25", "forward-to-some", "response-timeout 60"];
  assert.deepEqual(await changed([...SAME, ...some]), ["forward-to"]);
  assert.deepEqual(await changed(SAME, "-s", "--localedir=/x"), ["-s", "localedir"]);
});

test("relayd-migrate reads the options of every instance", { skip }, async () => {
  await using tree = await tempTree();
  await mkdir(join(tree.root, "var/spool/out"));
  putMessage(tree.spool, "emailrelay.1.1.1");
  const out = join(tree.root, "var/spool/out");
  const done = await migrate(tree, [
    ...["in-spool-dir SPOOL", "in-port 10025", "in-idle-timeout 1", "user root"],
    ...[`out-spool-dir ${out}`, "out-port 10026", "out-filter /no/such/filter"],
  ]);
  assert.match(part(done, `Spool ${tree.spool}`), /waiting to be forwarded: 1/);
  assert.equal(part(done, `Spool ${out}`), `Spool ${out}`);
  assert.ok(problemsOf(done).includes("no such program: /no/such/filter"));
});

test("relayd-migrate warns while E-MailRelay runs", { skip }, async () => {
  await using tree = await tempTree();
  const pidFile = join(tree.root, "etc/pid");
  await writeFile(pidFile, `${process.pid}\n`);
  const done = await migrate(tree, [...SAME, "pid-file ETC/pid"]);
  assert.match(done.stdout, new RegExp(`seems to run, as process ${process.pid}:`));
  await writeFile(pidFile, "999999999\n");
  assert.doesNotMatch((await migrate(tree, [...SAME, "pid-file ETC/pid"])).stdout, /seems to run/);
});

test("relayd-migrate changes nothing, and tells who calls it wrongly", { skip }, async () => {
  await using tree = await tempTree();
  putMessage(tree.spool, "emailrelay.1.1.1");
  const envelope = join(tree.spool, "emailrelay.1.1.1.envelope");
  const before = await readFile(envelope);
  await migrate(tree, SAME);
  assert.ok((await readFile(envelope)).equals(before));
  const script = "scripts/relayd-migrate";
  assert.equal((await tree.run(script, ["--wrong"])).status, 2);
  assert.equal((await tree.run(script, ["/dev/null", "word"])).status, 2);
  assert.equal((await tree.run(script, ["/none"])).status, 1);
  const help = await tree.run(script, ["--help"]);
  assert.deepEqual(
    [help.status, help.stdout.split("\n")[0]],
    [0, "relayd-migrate [<emailrelay.conf> [<option> ...]]"],
  );
});
