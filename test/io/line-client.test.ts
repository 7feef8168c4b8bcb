import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../../src/io/clock.ts";
import { LineClient } from "../../src/io/line-client.ts";
import { serviceEndpoint, serviceId } from "../../src/io/service-address.ts";
import { deadAddress, LinePeer } from "../support/line-peer.ts";

const never = new AbortController().signal;

function clientOf(address: string, timeoutMs = 10_000): LineClient {
  return new LineClient(serviceEndpoint(address), { timeoutMs, clock: systemClock });
}

const answer = (line: string) => ({ kind: "line", line });
const failed = (why: string) => ({ kind: "failed", why });

test("ask() sends the question with LF and takes answers that end in LF or CR LF", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    assert.equal(await connection.line(), "one");
    connection.say("first\n");
    assert.equal(await connection.line(), "two");
    connection.say("second\r\n");
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("one", never), answer("first"));
  assert.deepEqual(await client.ask("two", never), answer("second"));
  await peer.done();
  assert.equal(peer.connections, 1);
});

test("ask() puts together an answer that comes byte by byte", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.socket.setNoDelay(true);
    for (const byte of Buffer.from("grüße\r\n")) {
      connection.say(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("x", never), answer("grüße"));
});

test("ask() reaches a unix socket", async () => {
  const folder = mkdtempSync(join(tmpdir(), "relayd-line-"));
  try {
    const path = join(folder, "socket");
    await using peer = await LinePeer.listen(async (connection) => {
      connection.say(`${await connection.line()} too\n`);
    }, path);
    await using client = clientOf(peer.address);
    assert.deepEqual(await client.ask("you", never), answer("you too"));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("ask() reaches an IPv6 address and a host by its name", async () => {
  const server = createServer((socket) => socket.on("data", () => socket.end("ok\n")));
  await new Promise<void>((resolve) => server.listen(0, "::1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  try {
    await using client = clientOf(`[::1]:${port}`);
    assert.deepEqual(await client.ask("x", never), answer("ok"));
  } finally {
    server.close();
  }
  await using peer = await LinePeer.listen(async (connection) => connection.say("ok\n"));
  await using named = clientOf(peer.address.replace("127.0.0.1", "localhost"));
  assert.deepEqual(await named.ask("x", never), answer("ok"));
});

test("ask() names the address that refuses the connection", async () => {
  const address = await deadAddress();
  await using client = clientOf(address);
  assert.deepEqual(
    await client.ask("x", never),
    failed(`connect failure: cannot connect to ${address}`),
  );
  await using unix = clientOf("/nonexistent/socket");
  assert.deepEqual(
    await unix.ask("x", never),
    failed("connect failure: cannot connect to /nonexistent/socket"),
  );
});

test("ask() names the host that cannot be found", async () => {
  await using client = clientOf("no-such-host.invalid:25");
  const { kind, why } = (await client.ask("x", never)) as { kind: string; why: string };
  assert.equal(kind, "failed");
  assert.match(why, /^dns error: no such host: "no-such-host\.invalid" \(.+\)$/);
});

test("ask() fails when the peer closes in the middle of an answer", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.end("ok");
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("x", never), failed("peer disconnected"));
  assert.equal(peer.connections, 1);
});

test("ask() fails when the peer closes or resets a new connection without an answer", async () => {
  await using peer = await LinePeer.listen(async (connection, index) => {
    await connection.line();
    if (index === 0) connection.end();
    else connection.reset();
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("x", never), failed("peer disconnected"));
  assert.deepEqual(await client.ask("x", never), failed("peer disconnected"));
  assert.equal(peer.connections, 2);
});

test("ask() connects again, once, when the peer has closed the kept connection", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    connection.end(`${await connection.line()}\n`);
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("one", never), answer("one"));
  assert.deepEqual(await client.ask("two", never), answer("two"));
  assert.equal(peer.connections, 2);
});

test("ask() connects again when the kept connection closes instead of answering", async () => {
  await using peer = await LinePeer.listen(async (connection, index) => {
    connection.say(`${await connection.line()}\n`);
    const second = await connection.line();
    if (index === 0) connection.end();
    else connection.say(`${second}\n`);
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("one", never), answer("one"));
  // The first connection is closed with this question on it, the second one answers it.
  assert.deepEqual(await client.ask("two", never), answer("two"));
  assert.equal(peer.connections, 2);
});

test("ask() never takes a late answer for the answer to the next question", async () => {
  let late = (): void => undefined;
  await using peer = await LinePeer.listen(async (connection, index) => {
    const question = await connection.line();
    if (index === 0) late = () => connection.say("late\n");
    else connection.say(`${question}\n`);
  });
  await using client = clientOf(peer.address, 200);
  const why = `response timeout: no response after 0.2s while connected to ${peer.address}`;
  assert.deepEqual(await client.ask("one", never), failed(why));
  late();
  assert.deepEqual(await client.ask("two", never), answer("two"));
  assert.equal(peer.connections, 2);
});

test("ask() gives up on a peer that drips bytes without an end of line", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    while (!connection.socket.destroyed) {
      connection.say("x");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  await using client = clientOf(peer.address, 300);
  const why = `response timeout: no response after 0.3s while connected to ${peer.address}`;
  assert.deepEqual(await client.ask("x", never), failed(why));
});

test("ask() leaves a connection on which the peer said more than one line", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    connection.say(`${await connection.line()}\nmore\n`);
    await connection.gone();
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("one", never), answer("one"));
  assert.deepEqual(await client.ask("two", never), answer("two"));
  assert.equal(peer.connections, 2);
});

test("ask() leaves a connection on which the peer spoke without being asked", async () => {
  let speak = (): void => undefined;
  await using peer = await LinePeer.listen(async (connection, index) => {
    connection.say(`${await connection.line()}\n`);
    if (index === 0) speak = () => connection.say("550 forged\n");
    await connection.gone();
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("one", never), answer("one"));
  speak();
  assert.deepEqual(await client.ask("two", never), answer("two"));
  assert.equal(peer.connections, 2);
});

test("ask() refuses a line of more than 8 kB, and takes one of exactly 8 kB", async () => {
  await using peer = await LinePeer.listen(async (connection, index) => {
    await connection.line();
    connection.say("x".repeat(index === 0 ? 8191 : 8192));
    connection.say("\n");
    await connection.gone();
  });
  await using fits = clientOf(peer.address);
  assert.deepEqual(await fits.ask("x", never), answer("x".repeat(8191)));
  await using long = clientOf(peer.address);
  assert.deepEqual(await long.ask("x", never), failed(`response too long from ${peer.address}`));
});

test("ask() keeps no more than a line of a peer that never ends it", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    const flood = Buffer.alloc(65_536, 0x78);
    const pour = (): void => {
      while (!connection.socket.destroyed && connection.socket.write(flood));
    };
    connection.socket.on("drain", pour);
    pour();
    await connection.gone();
  });
  await using client = clientOf(peer.address);
  assert.deepEqual(await client.ask("x", never), failed(`response too long from ${peer.address}`));
  await peer.done();
});

test("ask() has one question on its way at a time", async () => {
  const heard: string[] = [];
  await using peer = await LinePeer.listen(async (connection) => {
    for (const wanted of ["one", "two", "three"]) {
      heard.push(await connection.line());
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(heard.at(-1), wanted);
      connection.say(`${wanted}\n`);
    }
  });
  await using client = clientOf(peer.address);
  const all = ["one", "two", "three"].map(async (question) => await client.ask(question, never));
  assert.deepEqual(await Promise.all(all), ["one", "two", "three"].map(answer));
  await peer.done();
  assert.equal(peer.connections, 1);
});

test("ask() rejects when it is aborted, and the connection is not used again", async () => {
  const stop = new AbortController();
  await using peer = await LinePeer.listen(async (connection, index) => {
    const question = await connection.line();
    if (index === 0) stop.abort(new Error("enough"));
    else connection.say(`${question}\n`);
    await connection.gone();
  });
  await using client = clientOf(peer.address);
  await assert.rejects(client.ask("one", stop.signal), /enough/);
  await assert.rejects(client.ask("two", stop.signal), /enough/);
  assert.deepEqual(await client.ask("three", never), answer("three"));
  assert.equal(peer.connections, 2);
});

test("ask() sends nothing that would be more than one line", async () => {
  await using client = clientOf(await deadAddress());
  assert.deepEqual(await client.ask("one\ntwo", never), failed("request of more than one line"));
});

test("dispose closes the connection and ends a question that waits", async () => {
  let asked = (): void => undefined;
  const waiting = new Promise<void>((resolve) => {
    asked = resolve;
  });
  await using peer = await LinePeer.listen(async (connection) => {
    await connection.line();
    asked();
    await connection.gone();
  });
  const client = clientOf(peer.address);
  const question = client.ask("x", never);
  await waiting;
  await client[Symbol.asyncDispose]();
  assert.deepEqual(await question, failed("peer disconnected"));
  await peer.done();
  assert.deepEqual(await client.ask("y", never), failed("peer disconnected"));
  assert.equal(peer.connections, 1);
});

test("serviceEndpoint() refuses what cannot be an address", () => {
  for (const text of ["", "x", "/", "host", "host:", ":25", "host:0", "host:99999", "host:x y"]) {
    assert.throws(() => serviceEndpoint(text), { code: "CONFIG_INVALID" }, text);
  }
});

test("serviceId() names services as E-MailRelay does", () => {
  assert.equal(serviceId(serviceEndpoint("127.0.0.1:783")), "127.0.0.1/783/ip");
  assert.equal(serviceId(serviceEndpoint("[::1]:spamd")), "::1/783/ip");
  assert.equal(serviceId(serviceEndpoint("/run/spamd.sock")), "/run/spamd.sock");
});
