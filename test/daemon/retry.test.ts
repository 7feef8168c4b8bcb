import assert from "node:assert/strict";
import { readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, openCatcher } from "../support/catcher.ts";
import { sendMail, TestRelay, temporarySpool, until } from "../support/relayd.ts";
import { putMessage } from "../support/spool-files.ts";

const soon = "--retry=200ms,400ms";

function envelopeOf(relay: TestRelay): string {
  const name = relay.files().find((one) => one.includes(".envelope"));
  return name === undefined ? "" : readFileSync(join(relay.spool, name), "latin1");
}

test("--retry tries again what was refused for the moment, until it is taken", async () => {
  let tries = 0;
  const smarthost = await openCatcher({
    mail: () => (++tries < 4 ? "451 4.7.1 greylisted" : undefined),
  });
  const relay = await TestRelay.start([
    soon,
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port);
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
  assert.equal(tries, 4);
  assert.equal(relay.log.match(/deferred \[.*greylisted/g)?.length, 3);
});

test("--retry sends each recipient's copy once, and keeps who was refused as .bad", async () => {
  let first = true;
  const smarthost = await openCatcher({
    rcpt: (line) => {
      if (line.includes("later") && first) {
        first = false;
        return "450 4.2.1 not now";
      }
      return line.includes("never") ? "550 5.1.1 no such user" : undefined;
    },
  });
  const relay = await TestRelay.start([
    soon,
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port, { to: ["now@x.test", "later@x.test", "never@x.test"] });
  const caught = await smarthost.caught(2);
  assert.deepEqual(
    caught.map(({ to }) => to),
    [["now@x.test"], ["later@x.test"]],
  );
  await until(() => relay.files().some((name) => name.endsWith(".bad")));
  const envelope = envelopeOf(relay);
  assert.match(envelope, /ToCount: 1\r\nX-MailRelay-To-Remote: never@x\.test\r\n/);
  assert.match(envelope, /Reason: 5\.1\.1 no such user\r\n/);
  assert.doesNotMatch(envelope, /X-Relayd-/);
});

test("--retry fails no mail while the smarthost is away, and goes on when it is back", async () => {
  const port = await freePort();
  const relay = await TestRelay.start([
    soon,
    `--forward-to=127.0.0.1:${port}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port);
  await sendMail(relay.port);
  await relay.logged(/smarthost \[127\.0\.0\.1:\d+\] paused for/);
  await until(() => relay.files().filter((name) => name.endsWith(".envelope")).length === 2);
  const smarthost = await openCatcher({}, port);
  await smarthost.caught(2);
  await until(() => relay.files().length === 0);
  assert.match(relay.log, /smarthost \[.*\] works again/);
});

test("--retry pauses a smarthost that refuses our password, and burns no mail", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([
    soon,
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
    "--client-auth=plain:bWU=:d3Jvbmc=",
  ]);
  await sendMail(relay.port);
  await relay.logged(/paused for/);
  await until(() => relay.files().some((name) => name.endsWith(".envelope")));
  assert.equal(
    relay.files().some((name) => name.endsWith(".bad")),
    false,
  );
});

test("--expire sets mail aside that could not be delivered for so long", async () => {
  const smarthost = await openCatcher({ mail: () => "451 never now" });
  const relay = await TestRelay.start([
    soon,
    "--expire=1s",
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port);
  await until(() => relay.files().some((name) => name.endsWith(".bad")));
  assert.match(envelopeOf(relay), /Reason: delivery time expired: never now\r\n/);
});

test("--expire sets mail aside whose name does not tell when it came, and not before it was tried", async () => {
  const spool = temporarySpool();
  putMessage(spool, "a letter");
  // As old as its files may be: it has come just now.
  utimesSync(join(spool, "a letter.content"), 1, 1);
  utimesSync(join(spool, "a letter.envelope"), 1, 1);
  const smarthost = await openCatcher({ mail: () => "451 never now" });
  const options = [soon, `--forward-to=${smarthost.address}`, "--forward"];
  const first = await TestRelay.start([...options, "--expire=1h"], { spool });
  await first.logged(/deferred \[a letter\]/);
  await first.end();
  const [, arrived] = /X-Relayd-Arrived: (\d+)\r\n/.exec(envelopeOf(first)) ?? [];
  assert.ok(Date.now() / 1000 - Number(arrived) < 3600);
  const second = await TestRelay.start([...options, "--expire=1s"], { spool });
  await until(() => second.files().includes("a letter.envelope.bad"));
  assert.match(envelopeOf(second), /Reason: delivery time expired: never now\r\n/);
});

test("--forward-to with several smarthosts uses the next when one hangs up on a message", async () => {
  const [first, second] = [await openCatcher({ data: "close" }), await openCatcher()];
  const relay = await TestRelay.start([
    "--retry",
    `--forward-to=${first.address},${second.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port);
  await second.caught(1);
  await until(() => relay.files().length === 0);
  assert.ok(first.commands.includes("DATA"));
});

test("--retry pauses a smarthost that hangs up on every message for longer each time, and says so once", async () => {
  let broken = true;
  const smarthost = await openCatcher({ mail: () => (broken ? "close" : undefined) });
  const relay = await TestRelay.start([
    soon,
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  for (let n = 0; n < 5; n++) await sendMail(relay.port);
  await relay.logged(/paused for/);
  // In a second pause at the earliest the last two have been tried.
  await until(() => new Set(relay.log.match(/deferred \[\S+\]/g)).size === 5);
  broken = false;
  await until(() => relay.files().length === 0);
  assert.equal(relay.log.match(/paused for/g)?.length, 1);
  assert.equal(relay.log.match(/works again/g)?.length, 1);
  assert.doesNotMatch(relay.log, /error: forwarding/);
});

test("the schedule survives a restart", async () => {
  const smarthost = await openCatcher({ mail: () => "451 not now" });
  const options = [
    "--retry=1h",
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
    "--forward",
  ];
  const first = await TestRelay.start(options);
  await sendMail(first.port);
  await first.logged(/deferred \[/);
  await first.end();
  assert.match(envelopeOf(first), /X-Relayd-Retry: 1 \d+ 0\r\n/);
  const before = smarthost.commands.length;
  const second = await TestRelay.start(options, { spool: first.spool });
  await second.logged("no messages to send");
  assert.equal(smarthost.commands.length, before);
  // Who asks in person has it tried now.
  second.child.kill("SIGUSR1");
  await second.logged(/deferred \[/);
});

test("--forward-to with several smarthosts uses the next when one is away", async () => {
  const away = `127.0.0.1:${await freePort()}`;
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([
    `--forward-to=${away},${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port);
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
});

test("--forward-parallel lets a slow message hold up no others", async () => {
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const smarthost = await openCatcher({
    waits: async ({ to }) => {
      if (to[0] === "slow@x.test") await gate;
    },
  });
  const relay = await TestRelay.start([
    "--forward-parallel=2",
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  await sendMail(relay.port, { to: ["slow@x.test"] });
  for (let n = 0; n < 3; n++) await sendMail(relay.port, { to: [`quick${n}@x.test`] });
  await until(() => smarthost.messages.length === 4);
  await until(() => relay.files().length === 2);
  letGo();
  await until(() => relay.files().length === 0);
});

test("--forward-rate sends everything in the end", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([
    "--forward-rate=2/300ms",
    `--forward-to=${smarthost.address}`,
    "--forward-on-disconnect",
  ]);
  for (let n = 0; n < 5; n++) await sendMail(relay.port);
  await smarthost.caught(5);
  await until(() => relay.files().length === 0);
});
