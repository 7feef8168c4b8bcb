/** Clients of the admin server that mean no good, or do not read. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import { PROMPT, testAdmin } from "../support/admin.ts";
import { until } from "../support/relayd.ts";
import { ManualClock } from "../support/smtp-listener.ts";

/** Larger than what the system takes for a client that does not read. */
const LOAD = 600_000;
const ids = Array.from({ length: LOAD }, (_, n) => `emailrelay.1.1795226072.${n}`);

test("a line without an end is not kept for ever", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  client.socket.on("error", () => undefined);
  client.send("list\r\n");
  await client.expect(`<none>\r\n${PROMPT}`);
  client.send("x".repeat(8193));
  assert.equal(await client.rest(), "");
  assert.deepEqual(
    admin.events.flatMap((event) => (event.kind === "session.closed" ? [event.why] : [])),
    ["line too long"],
  );
});

test("a long line of blanks and a NUL in a word are harmless", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  await client.ask(`${" ".repeat(8000)}list`, `<none>\r\n${PROMPT}`);
  await client.ask("list\0", `error: unrecognised command\r\n${PROMPT}`);
  await client.ask("constructor", `error: unrecognised command\r\n${PROMPT}`);
  await client.ask(
    "info __proto__",
    `usage: info {copyright|credit|version|warranty}\r\n${PROMPT}`,
  );
});

test("a command in single bytes is understood", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  client.socket.setNoDelay(true);
  for (const byte of "LIST\r\n") {
    client.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await client.expect(`<none>\r\n${PROMPT}`);
});

test("a megabyte of noise ends its own connection only", async () => {
  await using admin = await testAdmin();
  await using other = await admin.connect();
  await using noisy = await admin.connect();
  noisy.socket.on("error", () => undefined);
  noisy.send(randomBytes(1_000_000));
  await noisy.rest();
  await other.ask("list", `<none>\r\n${PROMPT}`);
});

test("a hundred thousand pipelined commands are answered one after the other", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  client.socket.end("list\n".repeat(100_000));
  assert.equal(await client.rest(), `<none>\n${PROMPT}`.repeat(100_000));
});

test("list shows fifty thousand messages, and others are served before the client has read them", async () => {
  await using admin = await testAdmin();
  admin.control.waiting = ids.slice(0, 50_000);
  await using slow = await admin.connect();
  await using other = await admin.connect();
  slow.socket.pause();
  slow.send("list\n");
  await other.ask("pid", `${process.pid}\r\n${PROMPT}`);
  slow.socket.resume();
  await slow.expect(`${admin.control.waiting.join("\n")}\n${PROMPT}`);
});

test("a client that does not read gets the last hundred events, and its commands wait", async () => {
  await using admin = await testAdmin();
  const { control } = admin;
  control.waiting = ids;
  const listed = new Promise<void>((resolve) => {
    control.list = async () => {
      setImmediate(resolve);
      return ids as MessageId[];
    };
  });
  await using slow = await admin.connect();
  slow.send("notify\npid\n");
  await slow.expect(`${process.pid}\n${PROMPT}`);
  slow.socket.pause();
  slow.send("list\nforward\n");
  await listed;
  for (let n = 0; n < 1000; n += 1) control.tell({ kind: "forward.requested", reason: `${n}` });
  assert.deepEqual(control.asked, []);
  slow.socket.resume();
  await slow.expect(`${ids.join("\n")}\n${PROMPT}`);
  const events = Array.from({ length: 100 }, (_, n) => `client: forward: start: ${900 + n}`);
  await slow.expect(events.map((words) => `\nEVENT: ${words}  `).join(""));
  await slow.expect(`OK\n${PROMPT}`);
});

test("a client that reads nothing of a long reply for a minute is cut off, an idle one is not", async () => {
  const clock = new ManualClock();
  await using admin = await testAdmin({ clock });
  await using idle = await admin.connect();
  await idle.ask("notify\r\nlist", `<none>\r\n${PROMPT}`);
  await using stuck = await admin.connect();
  await stuck.ask("list", `<none>\r\n${PROMPT}`);
  admin.control.waiting = ids;
  stuck.socket.pause();
  stuck.send("list\r\n");
  const closed = () =>
    admin.events.flatMap((event) => (event.kind === "session.closed" ? [event.why] : []));
  await until(async () => {
    await clock.advance(10);
    return closed().length > 0;
  });
  assert.deepEqual(closed(), ["client does not read"]);
  await idle.expect("\r\nEVENT: network: in: start  \r\nEVENT: network: in: stop  ");
  await idle.ask("pid", `${process.pid}\r\n${PROMPT}`);
});

test("clients beyond a hundred are turned away", async () => {
  await using admin = await testAdmin();
  const clients = [];
  for (let n = 0; n < 100; n += 1) clients.push(await admin.connect());
  await clients[99]?.ask("list", `<none>\r\n${PROMPT}`);
  await using late = await admin.connect();
  assert.equal(await late.rest(), "error: too many connections\r\n");
  for (const client of clients) await client[Symbol.asyncDispose]();
});
