/** What relayd writes when it receives: to the byte what E-MailRelay writes in the same session. */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { present } from "../support/peer.ts";
import { dialogue, runProgram, TestRelay, temporary, temporarySpool } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";
import { makeTestCa } from "../support/test-ca.ts";
import { golden } from "./golden.ts";
import { asClient } from "./kept-mail.ts";

const texts = (relay: TestRelay, ending: string): string[] =>
  relay
    .files()
    .filter((name) => name.endsWith(ending))
    .map((name) => readFileSync(join(relay.spool, name), "latin1"));

/** Field lines of an envelope that has these and is as E-MailRelay's otherwise. */
function envelope(fields: Readonly<Record<string, string>>, to: readonly string[]): string {
  const get = (name: string, usual = ""): string => `${name}: ${fields[name] ?? usual}`;
  return [
    ...["Format: #2821.8", get("Content", "unknown"), get("From", "a@b"), `ToCount: ${to.length}`],
    ...to,
    ...[get("Authentication"), get("Client", "127.0.0.1"), get("ClientCertificate")],
    ...[get("MailFromAuthIn"), get("MailFromAuthOut"), get("ForwardTo"), get("ForwardToAddress")],
    ...[get("ClientAccountSelector"), get("Utf8MailboxNames", "0"), "End: 1"],
  ]
    .map((line) => `X-MailRelay-${line}\r\n`)
    .join("");
}

test("the session of E-MailRelay's sample leaves the same envelope and content", async () => {
  const relay = await TestRelay.start([]);
  const replies = await dialogue(relay.port, [
    "EHLO client.example.com",
    "MAIL FROM:<alice@example.com> SIZE=100 BODY=8BITMIME AUTH=a+2Bb",
    "RCPT TO:<bob@example.net>",
    'RCPT TO:<"carol x"@example.net>',
    "DATA",
    "Subject: hello\r\nFrom: alice@example.com\r\n\r\nline one\r\n..dot stuffed\r\n  trailing  \r\n.",
    "QUIT",
  ]);
  assert.match(replies.join("\n"), /^250 message processed$/m);
  assert.deepEqual(texts(relay, ".envelope"), [golden("first-session").text]);
  const [content = ""] = texts(relay, ".content");
  const end = content.indexOf("\r\n") + 2;
  assert.match(
    content.slice(0, end),
    /^Received: from client\.example\.com \(\[127\.0\.0\.1\]\) by relay\.test with ESMTP ; (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [1-9]\d? (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n$/,
  );
  assert.equal(
    content.slice(end),
    "Subject: hello\r\nFrom: alice@example.com\r\n\r\nline one\r\n.dot stuffed\r\n  trailing  \r\n",
  );
  for (const name of relay.files()) {
    assert.match(name, /^emailrelay\.\d+\.\d+\.1\.(?:content|envelope)$/);
    assert.equal(statSync(join(relay.spool, name)).mode & 0o777, 0o660);
  }
});

test("the null sender and a mailbox outside ASCII are written as they came", async () => {
  const relay = await TestRelay.start(["--server-smtp-config=smtputf8"]);
  await dialogue(relay.port, [
    "EHLO c",
    "MAIL FROM:<> SMTPUTF8 BODY=7BIT",
    "RCPT TO:<j\xc3\xb6rg@example.net>",
    "DATA",
    "x\r\n.",
    "QUIT",
  ]);
  const fields = { Content: "7bit", From: "", Utf8MailboxNames: "1" };
  assert.deepEqual(texts(relay, ".envelope"), [
    envelope(fields, ["To-Remote: j\xc3\xb6rg@example.net"]),
  ]);
});

test("local recipients come first, and a trusted client is named by its keyword", async () => {
  const directory = temporary();
  const verifier = join(directory, "verifier");
  writeFileSync(
    verifier,
    "#!/bin/sh\ncase $1 in\nlocal1@x) echo Full Name; echo mbox1; exit 0 ;;\n*) echo; echo new@addr; exit 1 ;;\nesac\n",
  );
  chmodSync(verifier, 0o755);
  const secrets = join(directory, "auth");
  writeFileSync(secrets, "server none 127.0.0.1 lan\n", { mode: 0o600 });
  const relay = await TestRelay.start([
    `--address-verifier=${verifier}`,
    `--server-auth=${secrets}`,
  ]);
  const replies = await dialogue(relay.port, [
    ...["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<rewrite@x>", "RCPT TO:<local1@x>", "DATA"],
    ...["Subject: x\r\n\r\n.", "QUIT"],
  ]);
  assert.match(replies.join("\n"), /^250 message processed$/m);
  assert.deepEqual(texts(relay, ".envelope"), [
    envelope({ Authentication: "lan" }, ["To-Local: mbox1", "To-Remote: new@addr"]),
  ]);
});

test("who logged in, and with which certificate, is in the envelope", {
  skip: present("openssl"),
}, async () => {
  using ca = makeTestCa();
  const secrets = join(temporary(), "auth");
  writeFileSync(secrets, "server plain a+20b+2Bc pw\n", { mode: 0o600 });
  const client = join(temporary(), "auth");
  writeFileSync(client, "client plain a+20b+2Bc pw\n", { mode: 0o600 });
  const relay = await TestRelay.start([
    ...["--server-tls-connection", `--server-auth=${secrets}`],
    `--server-tls-certificate=${ca.issue("relay.test").combined}`,
  ]);
  const own = ca.issue("alice");
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1");
  const { code, stderr } = await asClient(
    `127.0.0.1:${relay.port}`,
    spool,
    ...["--client-tls-connection", `--client-tls-certificate=${own.combined}`],
    `--client-auth=${client}`,
  );
  assert.equal(code, 0, stderr);
  const pem = readFileSync(own.certificate, "latin1").trimEnd().replaceAll("\n", "\r\n ");
  const fields = {
    ...{ Content: "8bit", From: "alice@example.com", Authentication: "a+20b+2Bc" },
    ...{ ClientCertificate: pem, MailFromAuthIn: "a+20b+2Bc" },
  };
  assert.deepEqual(texts(relay, ".envelope"), [envelope(fields, ["To-Remote: bob@example.net"])]);
});

test("split: writes the envelopes of E-MailRelay's sample", async () => {
  const relay = await TestRelay.start(["--filter=split:2525"]);
  await dialogue(relay.port, [
    ...["EHLO c", "MAIL FROM:<me@here.net>"],
    ...["u1@One.com", "u2@two.net", "u3@ONE.com"].map((to) => `RCPT TO:<${to}>`),
    ...["DATA", "Subject: x\r\n\r\n.", "QUIT"],
  ]);
  const groups = relay.files().filter((name) => name.endsWith(".envelope"));
  const ids = groups.map((name) => name.replace(/\.envelope$/, ""));
  const written = new Map(
    texts(relay, ".envelope").map((text) => [
      /^X-MailRelay-ForwardTo: (.*)\r$/m.exec(text)?.[1],
      text,
    ]),
  );
  const sample = golden("split").text;
  const [head = ""] = sample.split("X-MailRelay-SplitGroupCount");
  const tails = [...written.values()].map((text) =>
    text.slice(text.indexOf("X-MailRelay-SplitGroupCount")),
  );
  assert.deepEqual([...written.keys()].sort(), ["One.com:2525", "two.net:2525"]);
  const one = written.get("One.com:2525") ?? "";
  assert.equal(one.slice(0, head.length), head);
  for (const tail of tails) {
    const lines = tail.split("\r\n").filter((line) => line !== "");
    assert.equal(lines[0], "X-MailRelay-SplitGroupCount: 2");
    assert.deepEqual(
      lines.slice(1).sort(),
      ids.map((id) => `X-MailRelay-SplitGroup: ${id}`).sort(),
    );
  }
  assert.equal(new Set(texts(relay, ".content")).size, 1);
});

test("relayd-submit writes the envelope that emailrelay-submit writes", async () => {
  const spool = temporarySpool();
  const args = [`--spool-dir=${spool}`, "--from=me@here.net", "--verbose", "r1@x.net"];
  const { code, stdout } = await runProgram("relayd-submit", args, { input: "Subject: s\n\nx\n" });
  assert.equal(code, 0);
  const path = stdout.trim().replace(/content$/, "envelope");
  const [fresh = ""] = golden("failed-twice").text.split("X-MailRelay-Reason:");
  assert.equal(readFileSync(path, "latin1"), fresh);
});
