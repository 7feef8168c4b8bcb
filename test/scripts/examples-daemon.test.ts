/** The examples as an operator installs them: named in relayd's options, run by relayd on real messages. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { dialogue, sendMail, TestRelay, temporary, temporarySpool } from "../support/relayd.ts";
import { editExample, example } from "./filter-stage.ts";
import { needs } from "./temp-tree.ts";

async function forwarding(...args: readonly string[]) {
  const smarthost = await openCatcher();
  const forward = [`--forward-to=${smarthost.address}`, "--forward-on-disconnect"];
  return { smarthost, relay: await TestRelay.start([...forward, ...args]) };
}

test("relayd runs a chain of the examples, and what they edit is sent", async () => {
  const chain = ["filter-refuse-bcc.sh", "filter-message-id.sh", "filter-edit-from.sh"];
  const { smarthost, relay } = await forwarding(`--filter=${chain.map(example).join(",")}`);
  const content = "From: me@example.com\r\nSubject: s\r\n\r\n..body \r\n\xff";
  assert.match(await sendMail(relay.port, { content }), /^250 /);
  const [caught] = await smarthost.caught(1);
  assert.equal(caught?.from, "office@example.com");
  const lines = caught?.content.split("\r\n") ?? [];
  assert.match(lines[0] ?? "", /^Message-ID: <emailrelay\.[0-9.a-f]+@example\.com>$/);
  assert.match(lines[1] ?? "", /^Received: /);
  assert.deepEqual(lines.slice(2), [
    "From: Example Office <office@example.com>",
    "Reply-To: me@example.com",
    ...["Subject: s", "", ".body ", "\xff", ""],
  ]);
});

test("relayd answers what filter-refuse-bcc.sh says, and keeps nothing", async () => {
  const { relay } = await forwarding(`--filter=${example("filter-refuse-bcc.sh")}`);
  const content = "Bcc: hidden@example.com\r\n\r\nx";
  assert.equal(await sendMail(relay.port, { content }), "550 the message has a Bcc header");
  assert.deepEqual(relay.files(), []);
});

test("relayd refuses a denied client by deny-ip.sh as filter and as verifier", async () => {
  const directory = temporary();
  const list = join(directory, "denied");
  writeFileSync(list, "127.0.0.1\n");
  const script = await editExample("deny-ip.sh", { list }, directory);
  const filtering = await TestRelay.start([`--filter=${script}`]);
  const text = "your address is on the list of denied clients";
  assert.equal(await sendMail(filtering.port), `554 ${text}`);
  const verifying = await TestRelay.start([`--address-verifier=${script}`]);
  const asked = ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "QUIT"];
  assert.equal((await dialogue(verifying.port, asked))[3], `550 ${text}`);
  writeFileSync(list, "");
  assert.match(await sendMail(filtering.port), /^250 /);
  assert.match((await dialogue(verifying.port, asked))[3] ?? "", /^250 /);
});

test("relayd signs by filter-dkim-sign.sh when it forwards", {
  skip: needs("openssl"),
}, async () => {
  const directory = temporary();
  const key = join(directory, "dkim.key");
  const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(key, pair.privateKey.export({ type: "pkcs8", format: "pem" }));
  const script = await editExample("filter-dkim-sign.sh", { key }, directory);
  const { smarthost, relay } = await forwarding(`--client-filter=${script}`);
  assert.match(await sendMail(relay.port, { content: "From: a@b\r\n\r\nx" }), /^250 /);
  const [caught] = await smarthost.caught(1);
  assert.match(caught?.content ?? "", /^DKIM-Signature: v=1; a=rsa-sha256;/);
  assert.match(caught?.content ?? "", /\r\nReceived: .*\r\nFrom: a@b\r\n\r\nx\r\n$/s);
});

test("relayd tells the client to try again when the directory of verifier-ldap.sh is away", async () => {
  const directory = temporary();
  // A port of the machine itself where nobody listens; without ldapsearch the answer is the same.
  const script = await editExample("verifier-ldap.sh", { server: "ldap://127.0.0.1:1" }, directory);
  const relay = await TestRelay.start([`--address-verifier=${script}`]);
  const replies = await dialogue(relay.port, [
    "EHLO c",
    "MAIL FROM:<a@b>",
    "RCPT TO:<c@d>",
    "QUIT",
  ]);
  assert.equal(replies[3], "450 cannot verify the recipient now");
});

test("relayd-multicast.sh takes the message over, and relayd says 250", async () => {
  const spool = temporarySpool();
  for (const name of ["alice", "bob"]) mkdirSync(join(spool, name));
  const relay = await TestRelay.start([`--filter=${example("relayd-multicast.sh")}`], { spool });
  assert.match(await sendMail(relay.port), /^250 /);
  assert.deepEqual(relay.files(), ["alice", "bob"]);
  for (const name of ["alice", "bob"]) {
    const [content = "", envelope = "", ...more] = readdirSync(join(spool, name)).sort();
    assert.match(content, /^emailrelay\.\d+\.\d+\.\d+\.content$/);
    assert.equal(envelope, content.replace(/content$/, "envelope"));
    assert.deepEqual(more, []);
    const text = readFileSync(join(spool, name, envelope), "latin1");
    assert.match(text, /^X-MailRelay-Format: #2821\.8\r\n/);
  }
});
