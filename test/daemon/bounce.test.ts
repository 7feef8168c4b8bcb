import assert from "node:assert/strict";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { dialogue, sendMail, TestRelay, until } from "../support/relayd.ts";

/** Refuses bob, takes everybody else. */
const refusingBob = async () =>
  await openCatcher({
    rcpt: (line) => (line.includes("<bob@") ? "550 5.1.1 no such user" : undefined),
  });

const forwarding = (address: string) => [
  `--forward-to=${address}`,
  "--forward-on-disconnect",
  "--bounce",
];

test("--bounce sends a report to the sender by way of the smarthost", async () => {
  const smarthost = await refusingBob();
  const relay = await TestRelay.start([...forwarding(smarthost.address), "--retry"]);
  await sendMail(relay.port);
  const [report] = await smarthost.caught(1);
  assert.deepEqual([report?.from, report?.to], ["", ["alice@example.com"]]);
  assert.match(
    report?.content ?? "",
    /^From: Mail Delivery System <MAILER-DAEMON@relay\.test>\r$/m,
  );
  assert.match(report?.content ?? "", /^Diagnostic-Code: smtp; 550 5\.1\.1 no such user\r$/m);
  const waiting = /\.envelope(\.busy)?$/;
  await until(() => relay.files().every((name) => !waiting.test(name)));
  const bad = relay.files().filter((name) => name.endsWith(".envelope.bad"));
  assert.equal(bad.length, 1);
  assert.equal(await relay.end(), 0);
});

test("--bounce leaves a report alone that is refused, and mail from nobody", async () => {
  const smarthost = await openCatcher({ rcpt: () => "550 5.1.1 no such user" });
  const relay = await TestRelay.start(forwarding(smarthost.address));
  await sendMail(relay.port);
  const isBad = (name: string) => name.endsWith(".envelope.bad");
  await until(() => relay.files().filter(isBad).length === 2);
  await sendMail(relay.port, { from: "" });
  await until(() => relay.files().filter(isBad).length === 3);
  await until(() => relay.files().every((name) => !/\.envelope(\.busy)?$/.test(name)));
  assert.equal(relay.files().filter(isBad).length, 3);
  assert.equal(await relay.end(), 0);
});

test("--bounce sends no report of what the client of --immediate is told itself", async () => {
  const smarthost = await refusingBob();
  const relay = await TestRelay.start([...forwarding(smarthost.address), "--immediate"]);
  const replies = await dialogue(relay.port, [
    "EHLO client.test",
    "MAIL FROM:<alice@example.com>",
    "RCPT TO:<bob@example.net>",
    "DATA",
    "Subject: x\r\n\r\ny\r\n.",
    "QUIT",
  ]);
  assert.match(replies.join("\n"), /^550 5\.1\.1 no such user/m);
  await sendMail(relay.port, { to: ["ann@example.net"] });
  await smarthost.caught(1);
  assert.deepEqual(
    smarthost.messages.map(({ to }) => to),
    [["ann@example.net"]],
  );
  assert.equal(await relay.end(), 0);
  const isEnvelope = (name: string) => name.includes(".envelope");
  assert.equal(relay.files().filter(isEnvelope).length, 1);
});

test("--bounce heeds NOTIFY=NEVER, through the spool", async () => {
  const smarthost = await refusingBob();
  const relay = await TestRelay.start(forwarding(smarthost.address));
  await dialogue(relay.port, [
    "EHLO client.test",
    "MAIL FROM:<alice@example.com> RET=HDRS ENVID=x",
    "RCPT TO:<bob@example.net> NOTIFY=NEVER",
    "DATA",
    "Subject: x\r\n\r\ny\r\n.",
    "MAIL FROM:<carol@example.com>",
    "RCPT TO:<bob@example.net>",
    "DATA",
    "Subject: x\r\n\r\ny\r\n.",
    "QUIT",
  ]);
  await until(() => relay.files().filter((name) => name.endsWith(".bad")).length === 2);
  await smarthost.caught(1);
  await until(() => relay.files().every((name) => !/\.envelope(\.busy)?$/.test(name)));
  assert.deepEqual(
    smarthost.messages.map(({ to }) => to),
    [["carol@example.com"]],
  );
  assert.equal(await relay.end(), 0);
});

test("--bounce gives the smarthost's own words for each recipient without --retry too", async () => {
  const smarthost = await refusingBob();
  const relay = await TestRelay.start(forwarding(smarthost.address));
  await sendMail(relay.port, { to: ["ann@example.net", "bob@example.net"] });
  const [report] = await smarthost.caught(1);
  const content = report?.content ?? "";
  assert.match(content, /^Diagnostic-Code: smtp; 550 5\.1\.1 no such user\r$/m);
  assert.match(content, /not sent, since another recipient was refused/);
  assert.doesNotMatch(content, /smtp; 550 one or more recipients rejected/);
  assert.equal(await relay.end(), 0);
});

test("--bounce tells who asked for it that a smarthost without DSN took the mail", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start(forwarding(smarthost.address));
  await dialogue(relay.port, [
    "EHLO client.test",
    "MAIL FROM:<alice@example.com>",
    "RCPT TO:<bob@example.net> NOTIFY=SUCCESS",
    "RCPT TO:<carol@example.net>",
    "DATA",
    "Subject: x\r\n\r\ny\r\n.",
    "QUIT",
  ]);
  const [, report] = await smarthost.caught(2);
  assert.deepEqual([report?.from, report?.to], ["", ["alice@example.com"]]);
  assert.match(report?.content ?? "", /^Action: relayed\r$/m);
  assert.match(report?.content ?? "", /^Final-Recipient: rfc822; ?bob@example\.net\r$/m);
  assert.doesNotMatch(report?.content ?? "", /carol@example\.net/);
  await until(() => relay.files().length === 0);
});

test("--bounce tells who asked for it that the mail was taken, though another recipient was refused", async () => {
  for (const more of [[], ["--retry"]]) {
    const smarthost = await refusingBob();
    const given = [...forwarding(smarthost.address), "--forward-to-some", ...more];
    const relay = await TestRelay.start(given);
    await dialogue(relay.port, [
      "EHLO client.test",
      "MAIL FROM:<alice@example.com>",
      "RCPT TO:<ann@example.net> NOTIFY=SUCCESS",
      "RCPT TO:<bob@example.net> NOTIFY=SUCCESS,FAILURE",
      "RCPT TO:<carol@example.net>",
      "DATA",
      "Subject: x\r\n\r\ny\r\n.",
      "QUIT",
    ]);
    await smarthost.caught(3);
    const reports = smarthost.messages.slice(1).map(({ content }) => {
      const [, action] = /^Action: (.*)\r$/m.exec(content) ?? [];
      const recipients = content.matchAll(/^Final-Recipient: rfc822; ?(.*)\r$/gm);
      return [action, ...Array.from(recipients, ([, recipient]) => recipient)].join(" ");
    });
    assert.deepEqual(reports.sort(), ["failed bob@example.net", "relayed ann@example.net"]);
    assert.equal(await relay.end(), 0);
  }
});
