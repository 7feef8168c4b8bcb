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
  await until(() => relay.files().every((name) => !name.endsWith(".envelope")));
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
