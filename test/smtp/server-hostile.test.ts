import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Submission } from "../../src/core/intake.ts";
import { systemClock } from "../../src/io/clock.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import {
  gather,
  ManualClock,
  plainConfig,
  testAccounts,
  testListener,
} from "../support/smtp-listener.ts";

const RECIPIENT = "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\n";
const chunking = { ...plainConfig.smtp, chunking: true };

/** Greeting, HELO, MAIL, RCPT and DATA are answered; content may follow. */
async function inData(address: string): Promise<RawClient> {
  const client = await RawClient.connect(address);
  client.send(`${RECIPIENT}DATA\r\n`);
  for (let i = 0; i < 5; i += 1) await client.reply();
  return client;
}

test("a client that has quit takes no place any more, although it does not close its side", async () => {
  const connections = { inAll: 1, perClient: 0 };
  // With a clock that stands still, no patience ever ends.
  const clock = { ...systemClock, monotonic: () => 0 };
  await using listening = await testListener({ clock, config: { connections } });
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  client.send("QUIT\r\n");
  assert.equal(await client.rest(), "221 OK\r\n");
  await using next = await RawClient.connect(listening.address);
  assert.match(await next.reply(), /^220 /);
});

test("a client that goes on after QUIT has its last reply, and no reset", async () => {
  await using listening = await testListener();
  await using client = await RawClient.connect(listening.address);
  const errors: unknown[] = [];
  client.socket.on("error", (error) => errors.push(error));
  await client.reply();
  client.send(`QUIT\r\n${"NOOP\r\n".repeat(100_000)}`);
  assert.equal(await client.rest(), "221 OK\r\n");
  client.send("NOOP\r\n");
  client.half();
  await once(client.socket, "close");
  assert.deepEqual(errors, []);
});

test("a line of a megabyte is answered 500 at its end, and the session goes on", async () => {
  await using listening = await testListener();
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  client.send(Buffer.alloc(1024 * 1024, "x"));
  client.send("\r\nNOOP\r\n");
  assert.equal(await client.reply(), "500 line too long");
  assert.equal(await client.reply(), "250 noop");
});

test("a command of more than 4096 bytes is refused, an AUTH response may have 12288", async () => {
  const accounts = testAccounts({ insecure: ["PLAIN"] });
  await using listening = await testListener({ accounts });
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  assert.equal(await client.ask(`NOOP ${"x".repeat(4091)}`), "250 noop");
  assert.equal(await client.ask(`NOOP ${"x".repeat(4092)}`), "500 line too long");
  await client.ask("HELO x");
  assert.equal(await client.ask("AUTH PLAIN"), "334 ");
  assert.equal(await client.ask("A".repeat(12288)), "535 authentication failed");
  assert.equal(await client.ask("AUTH PLAIN"), "334 ");
  assert.equal(await client.ask("A".repeat(12292)), "500 line too long");
  assert.equal(await client.ask("NOOP"), "250 noop");
});

test("a silent client is told 421 at the idle time-out", async () => {
  const clock = new ManualClock();
  await using listening = await testListener({ clock, config: { idleTimeoutMs: 5000 } });
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  await clock.advance(4);
  assert.equal(await client.ask("NOOP"), "250 noop");
  await clock.advance(4);
  assert.equal(await client.ask("NOOP"), "250 noop");
  await clock.advance(5);
  assert.equal(await client.rest(), "421 4.4.2 timed out\r\n");
  const closed = await listening.event("session.closed");
  assert.ok("why" in closed);
  assert.equal(closed.why, "idle timeout: no activity after 5s");
});

for (const { where, start } of [
  { where: "command", start: "" },
  { where: "message", start: `${RECIPIENT}DATA\r\n` },
  { where: "chunk", start: `${RECIPIENT}BDAT 1000\r\n` },
  { where: "refused chunk", start: "HELO x\r\nBDAT 1000\r\n" },
]) {
  test(`a ${where} that comes byte by byte ends at its deadline`, async () => {
    const clock = new ManualClock();
    const config = { idleTimeoutMs: 5000, messageTimeoutMs: 10_000, smtp: chunking };
    await using listening = await testListener({ clock, config });
    await using client = await RawClient.connect(listening.address);
    client.send(start);
    let closed = false;
    const rest = client.rest().then((text) => {
      closed = true;
      return text;
    });
    for (let second = 0; second < 60 && !closed; second += 1) {
      client.send("x");
      await clock.advance(1);
    }
    assert.match(await rest, /421 4\.4\.2 timed out\r\n$/);
    const event = await listening.event("session.closed");
    assert.ok("why" in event);
    assert.equal(event.why, "message timeout: not complete after 10s");
    if (where === "message") assert.deepEqual(listening.messages, []);
  });
}

test("a session that says NOOP for ever ends at its deadline", async () => {
  const clock = new ManualClock();
  const config = { idleTimeoutMs: 5000, sessionTimeoutMs: 20_000 };
  await using listening = await testListener({ clock, config });
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  let last = "";
  for (let second = 0; second < 60 && !last.startsWith("421"); second += 1) {
    last = await client.ask("NOOP");
    await clock.advance(1);
  }
  assert.equal(last, "421 4.4.2 timed out");
});

test("a client that never reads replies is not read from any more", async () => {
  await using listening = await testListener();
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  client.socket.pause();
  const batch = Buffer.from("EHLO x\r\n".repeat(8192));
  let sent = 0;
  // The kernel's buffers in both directions fill first; then it must stop.
  for (let stuck = false; !stuck && sent < 2000; sent += 1) {
    if (client.socket.write(batch)) continue;
    const drained = once(client.socket, "drain").then(() => false);
    stuck = await Promise.race([drained, sleep(1000, true)]);
  }
  assert.ok(sent < 2000, `took ${sent} batches`);
  assert.ok(process.memoryUsage().arrayBuffers < 200 * 1024 * 1024);
});

test("a client that vanishes in the middle of a small message leaves nothing", async () => {
  await using listening = await testListener();
  const client = await inData(listening.address);
  client.send("Subject: x\r\n\r\nhalf");
  client.destroy();
  await listening.event("session.closed");
  assert.deepEqual(listening.messages, []);
});

for (const how of ["destroy", "half"] as const) {
  test(`a client that goes away (${how}) in the middle of a large message is ClientGone`, async () => {
    await using listening = await testListener();
    const client = await inData(listening.address);
    client.send(Buffer.alloc(400 * 1024, "abc\r\n"));
    await untilStreaming(listening.address);
    client[how]();
    await listening.event("session.closed");
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(listening.messages, []);
    assert.equal(listening.lost.length, 1);
    assert.match(listening.lost[0] ?? "", /ClientGone/);
    await using _ = client;
  });
}

/** Another client's round trip: what was sent before has been read. */
async function untilStreaming(address: string): Promise<void> {
  await using other = await RawClient.connect(address);
  await other.reply();
  for (let i = 0; i < 20; i += 1) await other.ask("NOOP");
}

test("a large message passes byte for byte while the receiver is slow", async () => {
  const lines = Array.from(
    { length: 60_000 },
    (_, i) => `${i % 7 === 0 ? "." : ""}line ${i} of it`,
  );
  const plain = `${lines.join("\r\n")}\r\n`;
  const wire = `${lines.map((line) => (line.startsWith(".") ? `.${line}` : line)).join("\r\n")}\r\n.\r\n`;
  let got = "";
  const answer = async ({ content }: Submission) => {
    for await (const part of content.chunks) {
      got += Buffer.from(part).toString("latin1");
      await new Promise((resolve) => setImmediate(resolve));
    }
    return content.refusal() ?? { code: 250, text: "message processed" };
  };
  await using listening = await testListener({
    answer,
    config: { anonymous: { vrfy: false, server: false, content: true } },
  });
  await using client = await inData(listening.address);
  client.send(`${wire}NOOP\r\n`);
  assert.equal(await client.reply(), "250 message processed");
  assert.equal(await client.reply(), "250 noop");
  assert.ok(got === plain);
});

test("a message of 64 MB leaves no heap of buffers behind it", async () => {
  let most = 0;
  const answer = async ({ content }: Submission) => {
    for await (const _ of content.chunks) {
      most = Math.max(most, process.memoryUsage().arrayBuffers);
    }
    return { code: 250, text: "message processed" };
  };
  await using listening = await testListener({ answer });
  await using client = await inData(listening.address);
  const piece = Buffer.alloc(64 * 1024, `${"x".repeat(62)}\r\n`);
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 1024; i += 1) client.send(piece);
  assert.equal(await client.ask("."), "250 message processed");
  assert.ok(most - before < 2 * 1024 * 1024, `${most - before} bytes more`);
});

test("a receiver that gives up early has its answer sent after the end of the message", async () => {
  const answer = async ({ content }: Submission) => {
    for await (const _ of content.chunks) break;
    return { code: 452, text: "4.3.1 disk full" };
  };
  await using listening = await testListener({ answer });
  await using client = await inData(listening.address);
  client.send(Buffer.alloc(2 * 1024 * 1024, "abc\r\n"));
  client.send("\r\n.\r\nNOOP\r\n");
  assert.equal(await client.reply(), "452 4.3.1 disk full");
  assert.equal(await client.reply(), "250 noop");
});

test("a receiver that throws is our trouble: 451, and the session goes on", async () => {
  const answer = async () => await Promise.reject(new Error("out of luck"));
  await using listening = await testListener({ answer });
  await using client = await inData(listening.address);
  assert.equal(await client.ask("x\r\n."), "451 4.3.0 local error in processing");
  assert.equal(await client.ask("NOOP"), "250 noop");
});

test("a verifier that throws is our trouble: 450", async () => {
  const verifier = { verify: async () => await Promise.reject(new Error("broken")) };
  await using listening = await testListener({ verifier });
  await using client = await RawClient.connect(listening.address);
  client.send(RECIPIENT);
  for (let i = 0; i < 3; i += 1) await client.reply();
  assert.equal(await client.reply(), "450 cannot verify");
});

test("failed authentications are answered later and later, then the session ends", async () => {
  const delays: number[] = [];
  const accounts = testAccounts({ insecure: ["PLAIN"] });
  const clock = new ManualClock();
  const sleep = clock.sleep.bind(clock);
  clock.sleep = async (ms, signal) => {
    if (ms === 1000 && delays.length !== 2) return await sleep(ms, signal);
    delays.push(ms);
  };
  await using listening = await testListener({ accounts, clock });
  await using client = await RawClient.connect(listening.address);
  client.send("HELO x\r\n");
  for (let i = 0; i < 2; i += 1) await client.reply();
  for (let i = 0; i < 4; i += 1) {
    assert.equal(await client.ask("AUTH PLAIN AGFsaWNlAGJhZA=="), "535 authentication failed");
  }
  assert.equal(
    await client.ask("AUTH PLAIN AGFsaWNlAGJhZA=="),
    "421 too many failed authentications",
  );
  assert.equal(await client.line(), "<<EOF>>");
  assert.deepEqual(delays, [250, 500, 1000, 2000]);
  assert.equal(listening.events.filter(({ kind }) => kind === "auth.refused").length, 5);
});

test("pipelined input waits while the verifier works, and is not kept without limit", async () => {
  let release: () => void = () => assert.fail("The verifier was not asked");
  const verifier = {
    verify: async ({ recipient }: { recipient: string }) => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return { kind: "remote" as const, address: recipient };
    },
  };
  await using listening = await testListener({ verifier });
  await using client = await RawClient.connect(listening.address);
  client.send(RECIPIENT);
  await client.reply();
  while (client.socket.writableLength < 4 * 1024 * 1024) client.send("NOOP\r\n".repeat(10_000));
  await untilStreaming(listening.address);
  assert.ok(client.socket.writableLength > 0);
  release();
  for (const wanted of ["250 hello", "250 sender <a@b> OK", "250 recipient <r@x> OK"]) {
    assert.equal(await client.reply(), wanted);
  }
  assert.equal(await client.reply(), "250 noop");
});

test("a dot-line message of 8 MB does not hold the event loop for seconds", async () => {
  let size = 0;
  const answer = async (submission: Submission) => {
    size = (await gather(submission)).length;
    return { code: 250, text: "message processed" };
  };
  await using listening = await testListener({
    answer,
    config: { anonymous: { vrfy: false, server: false, content: true } },
  });
  await using client = await inData(listening.address);
  client.send(Buffer.alloc(8 * 1024 * 1024, "..\r\n"));
  assert.equal(await client.ask("."), "250 message processed");
  assert.equal(size, 2 * 1024 * 1024 * 3);
});
