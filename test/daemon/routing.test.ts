import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { DnsServer, zone } from "../support/dns-server.ts";
import {
  canConnect,
  runProgram,
  sendMail,
  TestRelay,
  temporary,
  temporarySpool,
  until,
} from "../support/relayd.ts";
import { script } from "../support/scripts.ts";
import { putMessage } from "../support/spool-files.ts";

async function forwardOnce(spool: string, address: string, ...more: readonly string[]) {
  return await runProgram("relayd", [
    ...[`--as-client=${address}`, `--spool-dir=${spool}`, "--domain=relay.test", "--user=root"],
    ...more,
  ]);
}

test("ForwardToAddress decides where a message goes, over one connection for each destination", async () => {
  const [usual, other] = [await openCatcher(), await openCatcher()];
  const spool = temporarySpool();
  for (let n = 1; n <= 6; n++) {
    const forwardToAddress = n % 2 === 0 ? other.address : "";
    putMessage(spool, `emailrelay.1.1.${n}`, { to: [`n${n}@x.test`], forwardToAddress });
  }
  // More, which a slow host gets when mail waits, would each have an EHLO.
  const { code, stderr } = await forwardOnce(spool, usual.address, "--forward-parallel=1");
  assert.equal(code, 0, stderr);
  const recipients = (catcher: typeof usual) => catcher.messages.flatMap((one) => one.to);
  assert.deepEqual(recipients(usual), ["n1@x.test", "n3@x.test", "n5@x.test"]);
  assert.deepEqual(recipients(other), ["n2@x.test", "n4@x.test", "n6@x.test"]);
  for (const { commands } of [usual, other]) {
    assert.equal(commands.filter((line) => /^EHLO/.test(line)).length, 1);
    assert.equal(commands.at(-1), "QUIT");
  }
});

test("a destination that cannot be reached keeps its mail, and the rest goes on", async () => {
  const usual = await openCatcher();
  const spool = temporarySpool();
  const nowhere = `127.0.0.1:${await freePort()}`;
  putMessage(spool, "emailrelay.1.1.1", { forwardToAddress: nowhere });
  putMessage(spool, "emailrelay.1.1.2");
  putMessage(spool, "emailrelay.1.1.3", { forwardToAddress: nowhere });
  await forwardOnce(spool, usual.address);
  assert.equal(usual.messages.length, 1);
  assert.deepEqual(
    readdirSync(spool).filter((name) => name.includes("envelope")),
    ["emailrelay.1.1.1.envelope", "emailrelay.1.1.3.envelope"],
  );
});

test("ClientAccountSelector chooses the account, with a connection for each", async () => {
  const usual = await openCatcher();
  const spool = temporarySpool();
  const secrets = join(temporary(), "secrets");
  writeFileSync(secrets, "client plain me one\nclient plain you two other\n", { mode: 0o600 });
  putMessage(spool, "emailrelay.1.1.1");
  putMessage(spool, "emailrelay.1.1.2", { selector: "other" });
  const { code, stderr } = await forwardOnce(spool, usual.address, `--client-auth=${secrets}`);
  // This smarthost offers no AUTH at all, so that both are refused before MAIL.
  assert.equal(code, 1, stderr);
  assert.equal(usual.messages.length, 0);
});

test("a message with ForwardTo is filtered before connecting, and not a second time", async () => {
  const [usual, other] = [await openCatcher(), await openCatcher()];
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { forwardTo: "example.net" });
  const count = join(temporary(), "count");
  const filter = script(
    `echo run >> ${count}`,
    `sed -i "s/^X-MailRelay-ForwardToAddress: .*/X-MailRelay-ForwardToAddress: ${other.address}\\r/" "$2"`,
  );
  const { code, stderr } = await forwardOnce(spool, usual.address, `--client-filter=${filter}`);
  assert.equal(code, 0, stderr);
  assert.deepEqual([usual.messages.length, other.messages.length], [0, 1]);
  assert.equal(readFileSync(count, "utf8"), "run\n");
});

test("a routing filter that refuses sets the message aside, with no connection made", async () => {
  const usual = await openCatcher();
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { forwardTo: "example.net" });
  await forwardOnce(spool, usual.address, "--client-filter=exit:1");
  assert.deepEqual(usual.commands, []);
  assert.ok(readdirSync(spool).includes("emailrelay.1.1.1.envelope.bad"));
  const envelope = readFileSync(join(spool, "emailrelay.1.1.1.envelope.bad"), "latin1");
  assert.match(envelope, /X-MailRelay-Reason: routing filter failed\r\n/);
});

test("several instances in one process each have ports, spool and smarthost of their own", async () => {
  const [one, two] = [await openCatcher(), await openCatcher()];
  const [inSpool, outSpool] = [temporarySpool(), temporarySpool()];
  const [inPort, outPort] = [await freePort(), await freePort()];
  const relay = await TestRelay.start(
    [
      ...[`--in-spool-dir=${inSpool}`, `--in-port=${inPort}`, `--in-forward-to=${one.address}`],
      ...["--in-forward-on-disconnect", "--in-domain=in.test", "--in-interface=127.0.0.1"],
      ...[`--out-spool-dir=${outSpool}`, `--out-port=${outPort}`, "--out-domain=out.test"],
      ...[`--out-forward-to=${two.address}`, "--out-forward-on-disconnect"],
      ...["--out-interface=127.0.0.1", "--out-filter=msgid:"],
    ],
    { instances: true, port: inPort },
  );
  await until(async () => await canConnect(outPort));
  assert.equal(await sendMail(inPort, { to: ["a@in.test"] }), "250 message processed");
  assert.equal(await sendMail(outPort, { to: ["a@out.test"] }), "250 message processed");
  const [first] = await one.caught(1);
  const [second] = await two.caught(1);
  assert.deepEqual([first?.to, second?.to], [["a@in.test"], ["a@out.test"]]);
  assert.match(first?.content ?? "", /by in\.test with ESMTP/);
  assert.match(second?.content ?? "", /^Message-ID: .*\r\nReceived: .*by out\.test/);
  assert.ok(relay.log.includes("[in] "), relay.log);
});

test("--client-filter=mx: finds the mail host of ForwardTo by DNS", async () => {
  await using dns = await DnsServer.start(
    zone("d.test MX 10 mail.d.test", "mail.d.test A 127.0.0.1"),
  );
  const [usual, other] = [await openCatcher(), await openCatcher()];
  const spool = temporarySpool();
  putMessage(spool, "emailrelay.1.1.1", { forwardTo: `d.test:${other.port}` });
  const filter = `--client-filter=mx:${dns.address}`;
  const { code, stderr } = await forwardOnce(spool, usual.address, filter);
  assert.equal(code, 0, stderr);
  assert.deepEqual([usual.messages.length, other.messages.length], [0, 1]);
});
