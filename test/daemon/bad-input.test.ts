import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { runProgram, sendMail, TestRelay, temporary, temporarySpool } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";

async function drain(spool: string, address: string) {
  const log = join(temporary(), "log");
  const ran = await runProgram("relayd", [
    `--as-client=${address}`,
    ...[`--spool-dir=${spool}`, "--user=root", `--log-file=${log}`],
  ]);
  return { ...ran, log: existsSync(log) ? readFileSync(log, "latin1") : "" };
}

/** A small file system of its own, so that it can be filled. */
function mountSmall(options: string): string | null {
  if (process.getuid?.() !== 0) return null;
  const directory = mkdtempSync("/tmp/relayd-small-");
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", directory]);
  after(() => {
    // Lazily: the relay on it may still be ending, and a hook that throws keeps the others from running.
    spawnSync("umount", ["-l", directory]);
    spawnSync("rmdir", [directory]);
  });
  return mounted.status === 0 ? directory : null;
}

test("links, pipes and directories named like envelopes are skipped and named, the rest goes on", async () => {
  const smarthost = await openCatcher();
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.5");
  const secret = join(temporary(), "secret");
  writeFileSync(secret, "secret");
  symlinkSync(secret, join(spool, "emailrelay.1.1.1.envelope"));
  spawnSync("mkfifo", [join(spool, "emailrelay.1.1.2.envelope")]);
  mkdirSync(join(spool, "emailrelay.1.1.3.envelope"));
  const { code, log } = await drain(spool, smarthost.address);
  assert.equal(code, 0);
  assert.equal(smarthost.messages.length, 1);
  for (const n of [1, 2, 3]) {
    assert.match(log, new RegExp(`warning: .*emailrelay\\.1\\.1\\.${n}\\.envelope`));
    assert.equal(existsSync(join(spool, `emailrelay.1.1.${n}.envelope`)), true);
  }
});

test("a content file that is a link or a pipe is never followed", async () => {
  const smarthost = await openCatcher();
  const spool = temporarySpool();
  const secret = join(temporary(), "secret");
  writeFileSync(secret, "secret");
  for (const n of [1, 2]) putMessage(spool, `emailrelay.1.1.${n}`);
  spawnSync(
    "rm",
    [1, 2].map((n) => join(spool, `emailrelay.1.1.${n}.content`)),
  );
  symlinkSync(secret, join(spool, "emailrelay.1.1.1.content"));
  spawnSync("mkfifo", [join(spool, "emailrelay.1.1.2.content")]);
  await drain(spool, smarthost.address);
  assert.equal(smarthost.messages.length, 0);
  assert.equal(readFileSync(secret, "latin1"), "secret");
});

test("an envelope that cannot be read stays as it is, with the reason in the log", async () => {
  const smarthost = await openCatcher();
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.2");
  const path = join(spool, "emailrelay.1.1.1.envelope");
  writeFileSync(path, "X-MailRelay-Format: #2821.99\r\n");
  writeFileSync(path.replace("envelope", "content"), "x\r\n");
  const { log } = await drain(spool, smarthost.address);
  assert.equal(smarthost.messages.length, 1);
  assert.match(
    log,
    /warning: ignoring ".*emailrelay\.1\.1\.1\.envelope": cannot read envelope file: unknown format id: #2821\.99/,
  );
  assert.equal(readFileSync(path, "latin1"), "X-MailRelay-Format: #2821.99\r\n");
});

test("a full disk is a 452 that leaves nothing, and service resumes by itself", async (context) => {
  const spool = mountSmall("size=600k");
  if (spool === null) return context.skip("cannot mount a small file system here");
  const relay = await TestRelay.start([], { spool });
  const big = `Subject: big\r\n\r\n${"x".repeat(70)}\r\n`.padEnd(700_000, `${"y".repeat(76)}\r\n`);
  assert.equal(
    await sendMail(relay.port, { content: big }),
    "452 4.3.1 insufficient system storage",
  );
  assert.deepEqual(relay.files(), []);
  assert.equal(await sendMail(relay.port), "250 message processed");
  assert.equal(relay.files().length, 2);
});

test("a disk without inodes is a 452 that leaves nothing", async (context) => {
  const spool = mountSmall("nr_inodes=10");
  if (spool === null) return context.skip("cannot mount a small file system here");
  const relay = await TestRelay.start(["--spool-min-free=0"], { spool });
  for (let n = 0; n < 9; n++) spawnSync("touch", [join(spool, `fill.${n}`)]);
  assert.match(await sendMail(relay.port), /^452 /);
  assert.equal(
    relay.files().some((name) => name.startsWith("emailrelay")),
    false,
  );
});

test("a spool that is gone is a 451, and service resumes when it is back", async () => {
  const relay = await TestRelay.start([]);
  renameSync(relay.spool, `${relay.spool}.away`);
  assert.equal(await sendMail(relay.port), "451 4.3.0 local storage error");
  await relay.logged(/error: .*no such file or directory/);
  renameSync(`${relay.spool}.away`, relay.spool);
  assert.equal(await sendMail(relay.port), "250 message processed");
});

test("an unknown smarthost is an error that names it, and the mail stays", async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const { code, stderr } = await drain(spool, "no-such-host.invalid:25");
  assert.equal(code, 1);
  assert.match(stderr, /^relayd: error: dns error: no such host: "no-such-host\.invalid"/);
  assert.equal(existsSync(join(spool, "emailrelay.1.1.1.envelope")), true);
});

test("a certificate that is none stops the start with its name", async () => {
  const directory = temporary();
  const certificate = join(directory, "relay.pem");
  writeFileSync(certificate, "not a certificate\n");
  const { code, stderr } = await runProgram("relayd", [
    ...["--as-server", "--no-daemon", `--spool-dir=${temporarySpool()}`, "--user=root"],
    ...["--server-tls", `--server-tls-certificate=${certificate}`],
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /relayd: error: .*relay\.pem/);
});

test("--check-config prints every problem with its option or line and exits with 1", async () => {
  const directory = temporary();
  const secrets = join(directory, "secrets");
  writeFileSync(secrets, "server plain alice secret\n");
  chmodSync(secrets, 0o644);
  const config = join(directory, "relayd.conf");
  writeFileSync(
    config,
    `spool-dir ${directory}/none\nserver-auth ${secrets}\nserver-tls\nserver-tls-certificate ${directory}/none.pem\n`,
  );
  const wrong = await runProgram("relayd", ["--check-config", config]);
  assert.equal(wrong.code, 1);
  const said = wrong.stdout + wrong.stderr;
  assert.match(said, /relayd\.conf:1: .*none/);
  assert.match(said, /relayd\.conf:2: .*readable by everybody/);
  assert.match(said, /relayd\.conf:4: .*none\.pem/);

  writeFileSync(config, `spool-dir ${temporarySpool()}\nserver-auth ${secrets}\n`);
  chmodSync(secrets, 0o600);
  const right = await runProgram("relayd", ["--check-config", config]);
  assert.deepEqual([right.code, right.stderr], [0, ""]);
});
