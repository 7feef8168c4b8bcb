/** relayd on a spool that E-MailRelay has filled: what it sends, and what it writes about what failed. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Catcher, openCatcher } from "../support/catcher.ts";
import { temporarySpool } from "../support/relayd.ts";
import { type Golden, golden, goldens, inNewestFormat } from "./golden.ts";
import { asClient } from "./kept-mail.ts";

const CONTENT = "Received: from x\r\nSubject: \xe9 \r\n\r\n.dot\r\n..two\r\nlast \t\r\n";
/** Addresses outside ASCII need a smarthost that takes them. */
const LENIENT = "--client-smtp-config=-smtputf8strict";

const idOf = (index: number): string => `emailrelay.580.1795226008.${index + 1}`;

/** Where an envelope names an address of its own, it is the smarthost's. */
const routed = ({ text }: Golden, { address }: Catcher): string =>
  text.replace("127.0.0.1:2525", address);

function fill(files: readonly Golden[], smarthost: Catcher): string {
  const spool = temporarySpool();
  for (const [index, file] of files.entries()) {
    writeFileSync(join(spool, `${idOf(index)}.content`), CONTENT, "latin1");
    writeFileSync(join(spool, `${idOf(index)}.envelope`), routed(file, smarthost), "latin1");
  }
  return spool;
}

const left = (spool: string): string[] =>
  readdirSync(spool)
    .filter((name) => name !== ".relayd")
    .sort();

const read = (spool: string, name: string): string => readFileSync(join(spool, name), "latin1");

test("every envelope of every format is forwarded, its content byte for byte", async () => {
  const smarthost = await openCatcher();
  const files = goldens();
  assert.equal(files.length, 17);
  const spool = fill(files, smarthost);
  const { code, stderr } = await asClient(smarthost.address, spool, LENIENT);
  assert.equal(code, 0, stderr);
  assert.deepEqual(left(spool), []);
  const sent = smarthost.messages.map(({ from, to, content }) => {
    assert.equal(content, CONTENT);
    return `${from} ${to.join(" ")}`;
  });
  const meant = files.map(({ text }) => {
    const from = /^X-MailRelay-From: (.*?)\r?$/m.exec(text)?.[1] ?? "";
    const to = [...text.matchAll(/^X-MailRelay-To-Remote: (.*?)\r?$/gm)].map((found) => found[1]);
    return `${from} ${to.join(" ")}`;
  });
  assert.deepEqual(sent.sort(), meant.sort());
});

test("a refused message becomes .bad, its reason appended in the line ends that are there", async () => {
  const smarthost = await openCatcher({ mail: () => "554 go away" });
  const files = goldens();
  const spool = fill(files, smarthost);
  const { code, stderr } = await asClient(smarthost.address, spool, LENIENT);
  assert.equal(code, 0, stderr);
  const reason = "X-MailRelay-Reason: go away\r\nX-MailRelay-ReasonCode: 554\r\n";
  for (const [index, file] of files.entries()) {
    const before = routed(file, smarthost);
    const added = before.includes("\r\n") ? reason : reason.replaceAll("\r\n", "\n");
    assert.equal(read(spool, `${idOf(index)}.envelope.bad`), before + added, file.name);
    assert.equal(read(spool, `${idOf(index)}.content`), CONTENT);
  }
  assert.equal(left(spool).length, 2 * files.length);
});

test("an envelope that has to be written anew, from whatever format, is in the newest", async () => {
  const smarthost = await openCatcher({
    rcpt: (line) => (line.includes("carol") ? "550 no such carol" : undefined),
  });
  const files = goldens().filter(({ text }) => text.includes('"carol x"'));
  assert.equal(files.length, 13);
  const spool = fill(files, smarthost);
  await asClient(smarthost.address, spool, "--forward-to-some");
  for (const [index, file] of files.entries()) {
    const fewer = inNewestFormat(routed(file, smarthost))
      .replace("ToCount: 2", "ToCount: 1")
      .replace("X-MailRelay-To-Remote: bob@example.net\r\n", "");
    const written = read(spool, `${idOf(index)}.envelope.bad`);
    assert.equal(written.slice(0, fewer.length), fewer, file.name);
    assert.match(
      written.slice(fewer.length),
      /^X-MailRelay-Reason: one or more recipients rejected\r\nX-MailRelay-ReasonCode:(?: 550)?\r\n$/,
    );
  }
  assert.equal(smarthost.messages.length, files.length);
});

test("a message that fails twice has the envelope that E-MailRelay writes, but for the code", async () => {
  const smarthost = await openCatcher({ rcpt: () => "451 not now" });
  const expected = golden("failed-twice").text;
  const [fresh = ""] = expected.split("X-MailRelay-Reason:");
  const spool = fill([{ name: "fresh", text: fresh }], smarthost);
  for (const _ of ["first", "second"]) {
    await asClient(smarthost.address, spool);
    renameSync(join(spool, `${idOf(0)}.envelope.bad`), join(spool, `${idOf(0)}.envelope`));
  }
  // E-MailRelay writes the code of the reply to RSET.
  const written = read(spool, `${idOf(0)}.envelope`);
  assert.equal(written, expected.replaceAll("ReasonCode: 250", "ReasonCode: 451"));
  const willing = await openCatcher();
  await asClient(willing.address, spool);
  assert.deepEqual(willing.messages[0]?.to, ["r1@x.net"]);
  assert.deepEqual(left(spool), []);
});

test("a reason of several lines, with bytes outside ASCII, is one line of the envelope", async () => {
  const smarthost = await openCatcher({ dot: () => "452-too\r\n452 f\xfcll" });
  const before = golden("first-session").text;
  const spool = fill([{ name: "first-session", text: before }], smarthost);
  await asClient(smarthost.address, spool);
  const written = read(spool, `${idOf(0)}.envelope.bad`);
  assert.match(
    written.slice(before.length),
    /^X-MailRelay-Reason: too\\nf[!-~]+ll\r\nX-MailRelay-ReasonCode: 452\r\n$/,
  );
});

test("an envelope that cannot be read is left alone, byte for byte, and said", async () => {
  const smarthost = await openCatcher();
  const good = golden("first-session").text;
  const broken = {
    "unknown format id: #2821.9": good.replace("#2821.8", "#2821.9"),
    "no end line": good.replace(/X-MailRelay-End.*\r\n/, ""),
    'expected "X-MailRelay-Client:"': good.replace("X-MailRelay-Client:", "X-MailRelay-Clients:"),
    "bad 'to' line": good.replace("ToCount: 2", "ToCount: 3"),
  };
  const files = Object.entries(broken).map(([name, text]) => ({ name, text }));
  const spool = fill(files, smarthost);
  const { stderr } = await asClient(smarthost.address, spool);
  for (const [index, { name, text }] of files.entries()) {
    assert.equal(read(spool, `${idOf(index)}.envelope`), text);
    assert.ok(stderr.includes(`cannot read envelope file: ${name}`), `${name}\n${stderr}`);
  }
  assert.equal(smarthost.messages.length, 0);
});
