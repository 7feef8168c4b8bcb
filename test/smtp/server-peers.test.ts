import assert from "node:assert/strict";
import { type ExecFileException, execFile } from "node:child_process";
import { accessSync } from "node:fs";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { plainConfig, testAccounts, testListener } from "../support/smtp-listener.ts";
import { makeTestCa } from "../support/test-ca.ts";

const environment = process.env;

/** Why a test cannot run; false when it can. In CI a missing program is a failure. */
function without(program: string): string | false {
  const folders = `${environment.PATH ?? ""}${delimiter}/usr/sbin${delimiter}/sbin`.split(
    delimiter,
  );
  const found = folders.some((folder) => {
    try {
      accessSync(join(folder, program));
      return true;
    } catch {
      return false;
    }
  });
  return found || environment.CI === "true" ? false : `${program} is not installed`;
}

interface Ran {
  readonly code: ExecFileException["code"] | 0;
  readonly output: string;
}

function run(program: string, words: readonly string[], input = ""): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(program, words, { timeout: 20_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : error.code, output: stdout + stderr }),
    );
    child.stdin?.end(input);
  });
}

const accounts = testAccounts({
  insecure: ["CRAM-MD5"],
  secure: ["CRAM-MD5", "PLAIN", "LOGIN"],
});
const words = { ...plainConfig.smtp, smtputf8: true, chunking: true };

async function secureListener(ca: ReturnType<typeof makeTestCa>) {
  const certificate = [ca.issue("localhost", { names: ["127.0.0.1"] }).combined];
  const versions = { min: null, max: null };
  const tls = { mode: "starttls" as const, required: false, certificate, verify: null, versions };
  return await testListener({ accounts, config: { tls, smtp: words } });
}

for (const mechanism of ["PLAIN", "LOGIN", "CRAM-MD5"]) {
  test(`swaks logs in with ${mechanism} inside TLS and sends`, {
    skip: without("swaks"),
  }, async () => {
    using ca = makeTestCa();
    await using listening = await secureListener(ca);
    const [, port = ""] = listening.address.split(":");
    const login = ["--auth", mechanism, "--auth-user", "alice", "--auth-password", "e=mc2"];
    const { code, output } = await run("swaks", [
      ...["--server", "127.0.0.1", "--port", port, "--tls", ...login],
      ...["--from", "a@b.test", "--to", "r@x.test,s@x.test", "--body", "hello\n.\nthere"],
    ]);
    assert.equal(code, 0, output);
    const [message] = listening.messages;
    assert.deepEqual(message?.submission.envelope.toRemote, ["r@x.test", "s@x.test"]);
    assert.equal(message?.submission.account, "alice");
    assert.match(message?.content ?? "", /with ESMTPSA tls [\s\S]*\r\nhello\r\n\.\r\nthere\r\n/);
  });
}

test("swaks with a pipelining session is served", { skip: without("swaks") }, async () => {
  await using listening = await testListener();
  const [, port = ""] = listening.address.split(":");
  const { code, output } = await run("swaks", [
    ...["--server", "127.0.0.1", "--port", port, "--pipeline"],
    ...["--from", "a@b.test", "--to", "r@x.test"],
  ]);
  assert.equal(code, 0, output);
  assert.equal(listening.messages.length, 1);
});

test("curl sends over STARTTLS", { skip: without("curl") }, async () => {
  using ca = makeTestCa();
  await using listening = await secureListener(ca);
  const { code, output } = await run(
    "curl",
    [
      ...["-sS", "--ssl-reqd", "--cacert", ca.certificate, `smtp://${listening.address}`],
      ...["--user", "alice:e=mc2", "--mail-from", "a@b.test", "--mail-rcpt", "r@x.test", "-T", "-"],
    ],
    "Subject: x\r\n\r\n.dot\r\nlast",
  );
  assert.equal(code, 0, output);
  assert.match(listening.messages[0]?.content ?? "", /\r\nSubject: x\r\n\r\n\.dot\r\nlast\r\n$/);
});

test("Python's smtplib sends international addresses and large messages", {
  skip: without("python3"),
}, async () => {
  await using listening = await testListener({ config: { smtp: words } });
  const [, port = ""] = listening.address.split(":");
  const script = `
import smtplib
with smtplib.SMTP("127.0.0.1", ${port}) as smtp:
    smtp.sendmail("j\\u00fcrgen@b.test", ["r@x.test"], b"Subject: x\\r\\n\\r\\n.y\\r\\n", mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    smtp.sendmail("a@b.test", ["r@x.test"], b"Subject: big\\r\\n\\r\\n" + b".0123456789\\r\\n" * 100000)
`;
  const { code, output } = await run("python3", ["-c", script]);
  assert.equal(code, 0, output);
  const [small, large] = listening.messages;
  assert.equal(small?.submission.envelope.from, "jürgen@b.test");
  assert.equal(small?.submission.envelope.utf8Mailboxes, true);
  assert.ok(large?.content.endsWith(`\r\n\r\n${".0123456789\r\n".repeat(100_000)}`));
});

test("Postfix's smtp-source sends many messages over many connections", {
  skip: without("smtp-source"),
}, async () => {
  await using listening = await testListener();
  const { code, output } = await run("/usr/sbin/smtp-source", [
    ...["-s", "20", "-m", "200", "-l", "3000"],
    listening.address,
  ]);
  assert.equal(code, 0, output);
  assert.equal(listening.messages.length, 200);
  assert.ok(listening.messages.every(({ content }) => content.length > 3000));
});
