import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TLSSocket } from "node:tls";
import { openCatcher } from "../support/catcher.ts";
import { MailPump, randomFrom } from "../support/mail-pump.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { sendMail, TestRelay, temporary, until } from "../support/relayd.ts";
import { makeTestCa } from "../support/test-ca.ts";

async function inData(relay: TestRelay): Promise<RawClient> {
  const client = await RawClient.connect(`127.0.0.1:${relay.port}`);
  await client.reply();
  for (const line of ["EHLO x", "MAIL FROM:<a@b.c>", "RCPT TO:<d@e.f>", "DATA"]) {
    await client.ask(line);
  }
  client.send("Subject: slow\r\n\r\n");
  return client;
}

test("SIGTERM during DATA: the message is finished, kept, and acknowledged", async () => {
  const relay = await TestRelay.start([]);
  await using client = await inData(relay);
  const ended = relay.end();
  // Nobody else comes in any more, so the signal has arrived.
  await until(async () => (await sendMail(relay.port).catch(() => "")) === "");
  assert.match(await client.ask("late\r\n."), /^250 /);
  assert.equal(await ended, 0);
  assert.equal(relay.files().length, 2);
});

test("SIGTERM during DATA, and nothing more comes: nothing is left after the grace time", async () => {
  const relay = await TestRelay.start(["--grace-time=1"]);
  await using _ = await inData(relay);
  assert.equal(await relay.end(), 0);
  assert.deepEqual(relay.files(), []);
});

test("SIGTERM during forwarding: what is in hand is delivered once, the rest waits", async () => {
  const relays: TestRelay[] = [];
  const smarthost = await openCatcher({
    dot: () => {
      // Once: the second one would end what is in hand.
      relays.pop()?.child.kill("SIGTERM");
      return undefined;
    },
  });
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  for (let n = 0; n < 3; n++) await sendMail(relay.port);
  relays.push(relay);
  relay.child.kill("SIGUSR1");
  await until(() => relay.child.exitCode !== null);
  assert.equal(relay.child.exitCode, 0);
  const waiting = relay.files().filter((name) => name.endsWith(".envelope"));
  assert.equal(waiting.length + smarthost.messages.length, 3);
  assert.equal(relay.files().length, waiting.length * 2);
});

test("SIGTERM with 100 sessions open ends them all with a word", async () => {
  const relay = await TestRelay.start(["--max-connections-per-client=0"]);
  const clients = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const client = await RawClient.connect(`127.0.0.1:${relay.port}`);
      await client.reply();
      return client;
    }),
  );
  assert.equal(await relay.end(), 0);
  for (const client of clients) assert.match(await client.rest(), /^421 /);
});

test("SIGHUP under load: no session and no message is lost", async () => {
  const relay = await TestRelay.start(["--server-smtp-config=pipelining,chunking"]);
  const pump = new MailPump(relay.port, { prefix: "hup", sessions: 4, random: randomFrom(7) });
  for (let n = 1; n <= 10; n++) {
    const before = pump.accepted.size;
    relay.child.kill("SIGHUP");
    await until(() => pump.accepted.size > before + 5);
  }
  await pump.stop();
  // Every session was the first one of its kind.
  for (const key of pump.accepted) assert.match(key, /^hup-\d-0-/);
  assert.equal(relay.files().filter((name) => name.endsWith(".envelope")).length, pump.sent.size);
});

test("a renewed certificate is used after SIGHUP, and no session is dropped for it", async () => {
  using ca = makeTestCa();
  const place = join(temporary(), "certificate.pem");
  renameSync(ca.issue("relay.test").combined, place);
  const relay = await TestRelay.start([`--server-tls-certificate=${place}`, "--server-tls"]);
  const secured = async () => {
    const client = await RawClient.connect(`127.0.0.1:${relay.port}`);
    await client.reply();
    await client.ask("EHLO x");
    await client.ask("STARTTLS");
    await client.startTls();
    return client;
  };
  const seen = (client: RawClient) =>
    (client.socket as TLSSocket).getPeerCertificate().serialNumber;
  await using old = await secured();
  renameSync(ca.issue("relay.test").combined, place);
  relay.child.kill("SIGHUP");
  await relay.logged("reloaded secrets and certificates");
  await using fresh = await secured();
  assert.notEqual(seen(fresh), seen(old));
  await old.ask("EHLO x");
  await old.ask("MAIL FROM:<a@b.c>");
  await old.ask("RCPT TO:<d@e.f>");
  await old.ask("DATA");
  assert.match(await old.ask("Subject: x\r\n\r\nx\r\n."), /^250 /);
});
