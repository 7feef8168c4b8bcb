import assert from "node:assert/strict";
import { once } from "node:events";
import { truncateSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../../src/io/clock.ts";
import { answers, type TestPop, testPop } from "../support/pop-server.ts";
import { ManualClock } from "../support/smtp-listener.ts";

async function whyClosed(pop: TestPop): Promise<string> {
  const event = await pop.told(({ kind }) => kind === "session.closed");
  return event.kind === "session.closed" ? event.why : "";
}

test("an endless line ends the session, in any state", async () => {
  await using pop = await testPop();
  for (const first of [[], ["AUTH PLAIN"], ["USER me", "PASS secret"]]) {
    const { client } = await pop.connect();
    await using _ = client;
    await answers(client, ...first);
    client.send("A".repeat(20_000));
    assert.equal(await client.rest(), "-ERR line too long\r\n");
  }
});

test("garbage is answered, and too much of it ends the session", async () => {
  await using pop = await testPop();
  const { client } = await pop.connect();
  await using _ = client;
  client.send(Buffer.from("\0\0\xff\x80\n\r\n\r\r\n \n".repeat(20), "latin1"));
  assert.equal(await client.rest(), `${"-ERR\r\n".repeat(29)}-ERR too many errors\r\n`);
  assert.equal(await whyClosed(pop), "pop protocol done: too many protocol errors from the client");
});

test("names with control and 8-bit characters are not repeated as they are", async () => {
  await using pop = await testPop();
  const { client } = await pop.connect();
  await using _ = client;
  client.send(Buffer.from(`USER a\0\x1b[2J\r\xff${"x".repeat(5000)}\r\nPASS \0\r\n`, "latin1"));
  const line = await client.line();
  assert.ok(line.startsWith("+OK user: a??[2J??xxx") && line.length < 300);
  assert.equal(await client.line(), "-ERR");
});

test("a TLS handshake on the plain port ends the session, and is told", async () => {
  await using pop = await testPop();
  const { client } = await pop.connect();
  await using _ = client;
  client.send(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
  assert.equal(await client.rest(), "");
  assert.equal(await whyClosed(pop), "unexpected tls handshake");
});

test("a client that says nothing is let go, without a word", async () => {
  const clock = new ManualClock();
  await using pop = await testPop({ clock });
  const { client } = await pop.connect();
  await using _ = client;
  await clock.advance(61);
  assert.equal(await client.rest(), "");
  assert.equal(await whyClosed(pop), "idle timeout: no activity after 60s");
});

test("a command that comes drop by drop must be complete in time", async () => {
  const clock = new ManualClock();
  await using pop = await testPop({ clock, config: { idleTimeoutMs: 0 } });
  const { client } = await pop.connect();
  await using _ = client;
  await answers(client, "CAPA");
  client.send("N");
  // One more command of another client shows that the drop has been read.
  const other = await pop.connect();
  await using __ = other.client;
  await answers(other.client, "CAPA");
  await clock.advance(61);
  assert.equal(await whyClosed(pop), "command timeout: not complete");
});

test("a client that never logs in is let go", async () => {
  const clock = new ManualClock();
  await using pop = await testPop({ clock, config: { idleTimeoutMs: 0 } });
  await using loggedIn = await pop.logIn();
  const { client } = await pop.connect();
  await using _ = client;
  await clock.advance(301);
  assert.equal(await client.rest(), "");
  assert.equal(await whyClosed(pop), "login timeout: not logged in");
  assert.deepEqual(await answers(loggedIn, "STAT"), ["+OK 0 0"]);
});

test("failed logins are answered later and later, and the fifth ends the session", async () => {
  const clock = new ManualClock();
  await using pop = await testPop({ clock });
  const { client } = await pop.connect();
  await using _ = client;
  const waits: number[] = [];
  for (const n of [1, 2, 3, 4]) {
    client.send("USER me\r\nPASS bad\r\n");
    await client.line();
    let answered = false;
    const answer = client.line().then((line) => {
      answered = true;
      return line;
    });
    while (pop.events.filter(({ kind }) => kind === "auth.refused").length < n) await turn();
    const before = clock.monotonic();
    for (let tries = 0; tries < 20 && !answered; tries += 1) {
      for (let some = 0; some < 20; some += 1) await turn();
      if (!answered) await clock.advance(1);
    }
    waits.push(clock.monotonic() - before);
    assert.equal(await answer, "-ERR");
  }
  assert.deepEqual(
    waits.map((ms) => ms >= 1000),
    [true, true, true, true],
  );
  assert.ok((waits[3] ?? 0) >= 2000);
  client.send("USER me\r\nPASS bad\r\nUSER me\r\nPASS secret\r\n");
  assert.equal(await client.rest(), "+OK user: me\r\n-ERR too many failed authentications\r\n");
  assert.equal(await whyClosed(pop), "pop protocol done: too many failed authentications");
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const BIG = 100 * 1024 * 1024;

/** Logs in over a socket of its own, which counts what comes. */
async function bigClient(pop: TestPop): Promise<{ socket: Socket; received: () => number }> {
  const socket = connect(pop.port, "127.0.0.1");
  await once(socket, "connect");
  let received = 0;
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  socket.write("USER me\r\nPASS secret\r\n");
  while (received < 60) await turn();
  return { socket, received: () => received };
}

test("100 MB stream through a session without being kept", async () => {
  await using pop = await testPop();
  pop.put("big", "x");
  truncateSync(join(pop.directory, "big.content"), BIG);
  const { socket, received } = await bigClient(pop);
  socket.pause();
  socket.write("RETR 1\r\n");
  const before = process.memoryUsage().arrayBuffers;
  // While another client gets all of it, this one reads nothing.
  const other = await bigClient(pop);
  other.socket.write("RETR 1\r\nQUIT\r\n");
  await once(other.socket, "end");
  other.socket.destroy();
  assert.ok(other.received() > BIG);
  assert.ok(process.memoryUsage().arrayBuffers - before < 32 * 1024 * 1024);
  socket.write("QUIT\r\n");
  socket.resume();
  await once(socket, "end");
  socket.destroy();
  assert.ok(received() > BIG);
});

test("a client that stops reading is cut off when its time is over", async () => {
  const clock = new ManualClock();
  await using pop = await testPop({ clock });
  pop.put("big", "x");
  truncateSync(join(pop.directory, "big.content"), BIG);
  const { socket } = await bigClient(pop);
  socket.on("error", () => undefined);
  socket.pause();
  socket.write("RETR 1\r\n");
  for (let n = 0; n < 500; n += 1) await turn();
  const closed = whyClosed(pop);
  for (let n = 0; n < 130; n += 1) await clock.advance(1);
  assert.equal(await closed, "idle timeout: no activity after 60s");
  socket.destroy();
});

test("content that ends before its time never looks complete", async () => {
  await using pop = await testPop();
  pop.put("big", "x");
  truncateSync(join(pop.directory, "big.content"), BIG);
  const { socket } = await bigClient(pop);
  let tail = "";
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => {
    tail = chunk.subarray(-5).toString("latin1");
  });
  socket.pause();
  socket.write("RETR 1\r\n");
  for (let n = 0; n < 500; n += 1) await turn();
  truncateSync(join(pop.directory, "big.content"), 10);
  socket.resume();
  await once(socket, "close");
  assert.notEqual(tail, "\r\n.\r\n");
  assert.equal(await whyClosed(pop), "internal error");
});

test("a flood of commands is not taken in while the client does not read", async () => {
  await using pop = await testPop();
  pop.put("big", "x");
  truncateSync(join(pop.directory, "big.content"), BIG);
  const { socket } = await bigClient(pop);
  socket.pause();
  socket.write("RETR 1\r\n");
  let taken = false;
  const flood = Buffer.alloc(60 * 1024 * 1024, "NOOP\r\n");
  socket.write(flood, () => {
    taken = true;
  });
  const other = await bigClient(pop);
  other.socket.write("RETR 1\r\nQUIT\r\n");
  await once(other.socket, "end");
  other.socket.destroy();
  assert.equal(taken, false);
  socket.destroy();
});

test("a flood of commands is answered in order", async () => {
  await using pop = await testPop();
  for (let n = 0; n < 50; n += 1) pop.put(`emailrelay.1.1.${n}`, "x");
  const { socket } = await bigClient(pop);
  const commands = 2000;
  let dots = 0;
  let rest = "";
  socket.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("latin1")).split("\r\n");
    rest = lines.pop() ?? "";
    dots += lines.filter((line) => line === ".").length;
  });
  socket.write(`${"UIDL\r\n".repeat(commands)}QUIT\r\n`);
  await once(socket, "end");
  socket.destroy();
  assert.equal(dots, commands);
});

test("drain does not wait for clients that stay", async () => {
  // With a clock that stands still, no patience ever ends.
  await using pop = await testPop({ clock: { ...systemClock, monotonic: () => 0 } });
  const idle = await pop.logIn();
  const gone = await pop.logIn();
  await answers(gone, "QUIT");
  await pop.server.drain(new AbortController().signal);
  assert.equal(await idle.rest(), "");
  for (const client of [idle, gone]) await client[Symbol.asyncDispose]();
});

test("drain lets a transfer finish and ends idle sessions, without removing anything", async () => {
  await using pop = await testPop();
  pop.put("big", "x");
  truncateSync(join(pop.directory, "big.content"), BIG);
  await using idle = await pop.logIn();
  await answers(idle, "DELE 1");
  const { socket, received } = await bigClient(pop);
  socket.pause();
  socket.write("RETR 1\r\n");
  for (let n = 0; n < 200; n += 1) await turn();
  const drained = pop.server.drain(new AbortController().signal);
  assert.equal(await idle.rest(), "");
  await idle[Symbol.asyncDispose]();
  socket.resume();
  await once(socket, "end");
  socket.destroy();
  await drained;
  assert.ok(received() > BIG);
  assert.deepEqual(pop.names(), ["big.content", "big.envelope"]);
});
