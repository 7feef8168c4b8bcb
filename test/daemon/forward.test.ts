import assert from "node:assert/strict";
import { readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { runProgram, sendMail, TestRelay, temporarySpool, until } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";

async function asClient(address: string, spool: string, ...more: readonly string[]) {
  return await runProgram("relayd", [
    `--as-client=${address}`,
    `--spool-dir=${spool}`,
    "--domain=relay.test",
    "--user=root",
    ...more,
  ]);
}

test("a server keeps mail and forwards it when the client disconnects", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  const content = "Subject: t\r\n\r\n..dot\r\n  blanks  \r\n\xe9\xff 8-bit";
  assert.equal(await sendMail(relay.port, { content }), "250 message processed");
  const [caught] = await smarthost.caught(1);
  assert.equal(caught?.from, "alice@example.com");
  assert.deepEqual(caught?.to, ["bob@example.net"]);
  const [received = "", ...rest] = (caught?.content ?? "").split("\r\n");
  assert.match(
    received,
    /^Received: from client\.test \(\[127\.0\.0\.1\]\) by relay\.test with ESMTP ; /,
  );
  assert.deepEqual(rest, ["Subject: t", "", ".dot", "  blanks  ", "\xe9\xff 8-bit", ""]);
  await until(() => relay.files().length === 0);
  assert.equal(await relay.end(), 0);
});

test("a server without a smarthost keeps content and envelope as two files", async () => {
  const relay = await TestRelay.start([]);
  await sendMail(relay.port, { to: ["b@x.test", "c@y.test"] });
  const [content = "", envelope = ""] = relay.files();
  assert.match(content, /^emailrelay\.\d+\.\d+\.1\.content$/);
  assert.equal(envelope, content.replace("content", "envelope"));
  const text = readFileSync(join(relay.spool, envelope), "latin1");
  assert.match(text, /^X-MailRelay-Format: #2821\.8\r\nX-MailRelay-Content: unknown\r\n/);
  assert.match(text, /X-MailRelay-ToCount: 2\r\nX-MailRelay-To-Remote: b@x\.test\r\n/);
});

test("--as-client drains the spool and says so when there is nothing", async () => {
  const smarthost = await openCatcher();
  const spool = temporarySpool();
  for (let n = 1; n <= 3; n++) putMessage(spool, `emailrelay.1.1.${n}`);
  const first = await asClient(smarthost.address, spool, "--forward-parallel=1");
  assert.equal(first.code, 0, first.stderr);
  assert.equal(smarthost.messages.length, 3);
  assert.equal(smarthost.messages[0]?.content, "Subject: put\r\n\r\n.dot\r\nbody\r\n");
  assert.deepEqual(
    smarthost.commands.filter((line) => /^(EHLO|QUIT)/.test(line)),
    ["EHLO relay.test", "QUIT"],
  );
  const second = await asClient(smarthost.address, spool);
  assert.equal(second.code, 0);
  assert.match(second.stderr, /^relayd: no messages to send$/m);
});

test("what the smarthost refuses becomes .bad with the reason, and the rest goes on", async () => {
  const smarthost = await openCatcher({
    rcpt: (line) => (line.includes("refused") ? "550 5.1.1 no such user" : undefined),
  });
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["ok@x.test", "refused@x.test"] });
  putMessage(spool, "emailrelay.1.1.2");
  const { code } = await asClient(smarthost.address, spool);
  assert.equal(code, 0);
  assert.equal(smarthost.messages.length, 1);
  const bad = join(spool, "emailrelay.1.1.1.envelope.bad");
  const text = readFileSync(bad, "latin1");
  assert.match(
    text,
    /End: 1\r\nX-MailRelay-Reason: one or more recipients rejected\r\nX-MailRelay-ReasonCode: 550\r\n$/,
  );
  assert.match(text, /ToCount: 2\r\n/);
  renameSync(bad, bad.replace(".bad", ""));
  const again = await openCatcher();
  assert.equal((await asClient(again.address, spool)).code, 0);
  assert.deepEqual(again.messages[0]?.to, ["ok@x.test", "refused@x.test"]);
});

for (const extension of ["PIPELINING", "HELP"]) {
  test(`content that is refused ends neither the session nor the run, with ${extension}`, async () => {
    const smarthost = await openCatcher({
      extension,
      dot: ({ content }) => (content.includes("spam") ? "554 no spam" : undefined),
    });
    const spool = temporarySpool();
    for (let n = 1; n <= 9; n++) {
      putMessage(spool, `emailrelay.1.1.${n}`, n % 3 === 0 ? { content: "spam\r\n" } : {});
    }
    const { code, stderr } = await asClient(smarthost.address, spool, "--forward-parallel=1");
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /error/);
    assert.equal(smarthost.messages.length, 6);
    assert.equal(smarthost.commands.filter((line) => line.startsWith("EHLO")).length, 1);
    const left = readdirSync(spool).filter((name) => name.endsWith(".envelope.bad"));
    assert.equal(left.length, 3);
  });
}

test("--forward-to-some delivers to those accepted and keeps only the refused", async () => {
  const smarthost = await openCatcher({
    rcpt: (line) => (line.includes("refused") ? "451 later" : undefined),
  });
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { to: ["ok@x.test", "refused@x.test"] });
  await asClient(smarthost.address, spool, "--forward-to-some");
  assert.deepEqual(smarthost.messages[0]?.to, ["ok@x.test"]);
  const text = readFileSync(join(spool, "emailrelay.1.1.1.envelope.bad"), "latin1");
  assert.match(text, /ToCount: 1\r\nX-MailRelay-To-Remote: refused@x\.test\r\n/);
  assert.match(text, /ReasonCode: 451\r\n$/);
});

test("an unreachable smarthost leaves everything queued and ends with 1", async () => {
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const address = `127.0.0.1:${await freePort()}`;
  const { code, stderr } = await asClient(address, spool);
  assert.equal(code, 1);
  assert.match(stderr, /^relayd: error: connect failure: cannot connect to 127\.0\.0\.1:\d+$/m);
  assert.equal(readFileSync(join(spool, "emailrelay.1.1.1.envelope"), "latin1").length > 0, true);
});

test("a connection lost after the data leaves the message queued", async () => {
  const smarthost = await openCatcher({ dot: () => "close" });
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const { code } = await asClient(smarthost.address, spool);
  assert.equal(code, 1);
  assert.match(readFileSync(join(spool, "emailrelay.1.1.1.envelope"), "latin1"), /End: 1\r\n$/);
});

test("--immediate passes the smarthost's answer on", async () => {
  const smarthost = await openCatcher({
    dot: (caught) => (caught.content.includes("spam") ? "554 5.7.1 spam" : undefined),
  });
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`, "--immediate"]);
  assert.equal(await sendMail(relay.port), "250 message processed");
  assert.deepEqual(relay.files(), []);
  assert.equal(await sendMail(relay.port, { content: "spam" }), "554 5.7.1 spam");
  assert.match(relay.files().join(" "), /\.content emailrelay\S+\.envelope\.bad$/);
  await smarthost.close();
  assert.equal(await sendMail(relay.port), "452 forwarding failed");
});

test("--poll forwards what appears in the spool", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`, "--poll=1"]);
  putMessage(relay.spool, "emailrelay.1.1.1");
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
});

test("a message whose content vanished fails with a reason and is never sent empty", async () => {
  const smarthost = await openCatcher();
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  renameSync(join(spool, "emailrelay.1.1.1.content"), join(spool, "elsewhere"));
  await asClient(smarthost.address, spool);
  assert.equal(smarthost.messages.length, 0);
  const text = readFileSync(join(spool, "emailrelay.1.1.1.envelope.bad"), "latin1");
  assert.match(text, /X-MailRelay-Reason: .*content/);
});

test("--as-client says where it forwards to before it begins", async () => {
  const smarthost = await openCatcher();
  const { stderr } = await asClient(smarthost.address, temporarySpool(), "--verbose");
  assert.deepEqual(stderr.split("\n").slice(0, 2), [
    `relayd: info: forwarding to ${smarthost.address}`,
    "relayd: info: forwarding: [startup]",
  ]);
});
