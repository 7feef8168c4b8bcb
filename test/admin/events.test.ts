/** What notify and status tell of what happens. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { RelayEvent } from "../../src/core/events.ts";
import {
  delivery,
  type FakeControl,
  id,
  message,
  outgoing,
  PROMPT,
  testAdmin,
} from "../support/admin.ts";
import { temporary } from "../support/relayd.ts";

const ID = "emailrelay.9075.1795227249.1";
const client = { address: "127.0.0.1", port: 50079 };
const local = () => "127.0.0.1:25";

const requested = (reason: string): RelayEvent => ({ kind: "forward.requested", reason });
const idle = (tried: number, error = ""): RelayEvent => ({ kind: "forward.idle", tried, error });
const failed = (text: string, peer?: string): RelayEvent => ({
  kind: "message.failed",
  id: id(ID),
  delivery: delivery(text, peer),
});

/** The text that a client with notify gets for these events. */
const lines = (...words: readonly string[]): string =>
  words.map((one) => `\r\nEVENT: ${one}  `).join("");

async function notified() {
  const admin = await testAdmin();
  const watcher = await admin.connect();
  await watcher.ask("notify\r\nlist", `<none>\r\n${PROMPT}`);
  return { admin, watcher, tell: (...events: RelayEvent[]) => tellAll(admin.control, events) };
}

function tellAll(control: FakeControl, events: readonly RelayEvent[]): void {
  for (const event of events) control.tell(event);
}

test("notify tells of one message received and forwarded as E-MailRelay does", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const out = outgoing(17108);
  tell(
    { kind: "session.opened", server: "smtp", peer: client, local },
    { kind: "session.closed", server: "smtp", peer: client, why: "smtp protocol done" },
    requested("client disconnect"),
    message(ID),
    ...[out.resolving, out.connecting, out.connected],
    { kind: "message.delivered", id: id(ID), delivery: delivery("OK") },
    out.disconnected,
    idle(1),
  );
  await watcher.expect(
    lines(
      "network: in: start",
      "network: in: stop",
      "client: forward: start: client disconnect",
      "network: out: start",
      "client: resolving: localhost/17108/ip",
      "client: connecting: 127.0.0.1:17108",
      `client: sending: ${ID}`,
      "client: connected: 127.0.0.1:17108",
      `client: sent: ${ID}`,
      "network: out: stop",
      "client: forward: end",
    ),
  );
});

test("notify tells of a refused message and of the forwarding that one asked for", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const out = outgoing(17100);
  admin.control.onForward = () => tell(requested("admin"));
  watcher.send("forward\r\n");
  // The event is told while the command is obeyed, and shown behind its answer.
  await watcher.expect(`OK\r\n${PROMPT}${lines("client: forward: start: admin")}`);
  tell(message(ID), out.connecting, out.connected);
  tell(failed("one or more recipients rejected"), out.disconnected, idle(1));
  await watcher.expect(
    lines(
      "network: out: start",
      "client: connecting: 127.0.0.1:17100",
      `client: sending: ${ID}`,
      "client: connected: 127.0.0.1:17100",
      `client: sent: ${ID}: one or more recipients rejected`,
      "network: out: stop",
      "client: forward: end",
    ),
  );
});

test("notify shows only the connections of a flush, and the OK right behind them", async () => {
  const { admin, watcher } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const { control } = admin;
  const out = outgoing(17100);
  watcher.send("flush\r\nlist\r\n");
  await watcher.expect(`<none>\r\n${PROMPT}`);
  for (const event of [
    message(ID),
    out.connecting,
    out.connected,
    failed("no"),
    out.disconnected,
  ]) {
    control.tell(event, "flush");
  }
  control.flushes[0]?.({ tried: 1, error: null });
  await watcher.expect(
    "\r\nEVENT: network: out: start  \r\nEVENT: network: out: stop  OK\r\nE-MailRelay> ",
  );
});

test("notify tells that a flush has not reached the smarthost", async () => {
  const { admin, watcher } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const attempt = delivery("cannot connect", "");
  admin.control.tell(outgoing(17100).connecting, "flush");
  admin.control.tell({ kind: "message.queued", id: id(ID), delivery: attempt }, "flush");
  await watcher.expect(lines("network: out: start", "network: out: stop"));
});

test("notify tells of a smarthost that cannot be reached", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const why = "connect failure: cannot connect to 127.0.0.1:17100";
  tell(requested("poll"), message(ID), outgoing(17100).connecting);
  tell({ kind: "message.queued", id: id(ID), delivery: delivery(why, "") });
  tell({ kind: "smarthost.failed", address: "", why }, idle(1, why));
  await watcher.expect(
    lines(
      "client: forward: start: poll",
      "network: out: start",
      "client: connecting: 127.0.0.1:17100",
      `client: sending: ${ID}`,
      `client: sent: ${ID}: ${why}`,
      "network: out: stop",
      `client: forward: end: ${why}`,
    ),
  );
});

test("notify announces the next message on a connection that is kept", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const out = outgoing(17100);
  tell(requested("admin"), message("one"), out.connecting, out.connected);
  tell({ kind: "message.delivered", id: id("one"), delivery: delivery("OK") }, message("two"));
  await watcher.expect(
    lines(
      "client: forward: start: admin",
      "network: out: start",
      "client: connecting: 127.0.0.1:17100",
      "client: sending: one",
      "client: connected: 127.0.0.1:17100",
      "client: sent: one",
      "client: sending: two",
    ),
  );
  // Another way: announced when the new connection is made.
  tell({ kind: "message.delivered", id: id("two"), delivery: delivery("OK") });
  tell(message("three", "other:25"), out.disconnected, outgoing(17101).connecting);
  await watcher.expect(
    lines(
      "client: sent: two",
      "network: out: stop",
      "network: out: start",
      "client: connecting: 127.0.0.1:17101",
      "client: sending: three",
    ),
  );
});

test("notify tells what a run did not send", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  tell(requested("admin"), idle(0), requested("admin"), message("one"));
  tell({ kind: "forward.abandoned", id: id("one") });
  tell({ kind: "message.abandoned", id: id("received") }, message("never tried"), idle(1));
  tell(message("odd\r\nname"), {
    kind: "message.failed",
    id: id("odd\r\nname"),
    delivery: delivery("550 no\r\nEVENT: such user", ""),
  });
  await watcher.expect(
    lines(
      "client: forward: start: admin",
      "client: forward: end: no messages",
      "client: forward: start: admin",
      "client: sending: one",
      "client: sent: one: abandoned",
      "client: forward: end",
      "client: sending: odd name",
      "client: sent: odd name: 550 no EVENT: such user",
    ),
  );
});

test("notify tells of a message that is tried again later, with the reason", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const again = { delivery: delivery("come back"), retrySeconds: 60, unknown: false };
  tell(message("one"), outgoing(17100).connecting);
  tell({ kind: "message.deferred", id: id("one"), ...again });
  await watcher.expect(
    lines(
      "network: out: start",
      "client: connecting: 127.0.0.1:17100",
      "client: sending: one",
      "client: sent: one: come back",
    ),
  );
});

test("notify does not take a message that is put back for the one that is sent", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const why = "left for another run";
  const out = outgoing(17100);
  tell(message("one", "dead:25"), { kind: "forward.skipped", id: id("one"), why });
  tell(message("two"), out.connecting, out.connected, message("three"));
  tell({ kind: "forward.skipped", id: id("three"), why });
  await watcher.expect(
    lines(
      "network: out: start",
      "client: connecting: 127.0.0.1:17100",
      "client: sending: two",
      "client: connected: 127.0.0.1:17100",
      "client: sending: three",
      `client: sent: three: ${why}`,
    ),
  );
});

test("notify names the path of a smarthost on a unix socket", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  const ends = { peer: { address: "/run/smarthost", port: 0 }, local: "/" };
  tell({ kind: "smarthost.connecting", address: "/run/smarthost" });
  tell({ kind: "smarthost.connected", ...ends });
  await watcher.expect(
    lines(
      "network: out: start",
      "client: connecting: /run/smarthost",
      "client: connected: /run/smarthost",
    ),
  );
});

test("only those who asked are notified, all of them, with their own line ends", async () => {
  const { admin, watcher, tell } = await notified();
  await using _ = admin;
  await using __ = watcher;
  await using quiet = await admin.connect();
  await using unix = await admin.connect();
  await watcher.expect(lines("network: in: start", "network: in: start"));
  unix.send("list\nnotify\npid\n");
  await unix.expect(`<none>\n${PROMPT}${process.pid}\n${PROMPT}`);
  tell(requested("poll"));
  await watcher.expect(lines("client: forward: start: poll"));
  await unix.expect("\nEVENT: client: forward: start: poll  ");
  await quiet.ask("list", `<none>\r\n${PROMPT}`);
});

test("status counts the connections of every server, this one included, and lists them", async () => {
  await using admin = await testAdmin();
  const { control } = admin;
  control.addresses = [admin.address, "127.0.0.1:25"];
  await using one = await admin.connect();
  const listen = `LISTEN: ${admin.address}\r\nLISTEN: 127.0.0.1:25\r\n`;
  await one.ask(
    "status",
    `${listen}OUT started: 0\r\nOUT finished: 0\r\nIN started: 1\r\nIN finished: 0\r\nIN: ${admin.address} <- ${one.local}\r\n${PROMPT}`,
  );
  const v6 = { address: "::1", port: 4 };
  const out = outgoing(17100, "127.0.0.1:40000");
  tellAll(control, [
    { kind: "session.closed", server: "smtp", peer: v6, why: "opened before we looked" },
    { kind: "session.opened", server: "pop", peer: v6, local: () => "::1.110" },
    { kind: "session.opened", server: "smtp", peer: client, local },
    { kind: "session.closed", server: "smtp", peer: client, why: "" },
    ...[out.resolving, out.connecting, out.connected, outgoing(17101).connecting],
  ]);
  await one.ask(
    "status",
    `${listen}OUT started: 2\r\nOUT finished: 0\r\nOUT: 127.0.0.1:40000 -> 127.0.0.1:17100\r\n` +
      `IN started: 3\r\nIN finished: 1\r\nIN: ${admin.address} <- ${one.local}\r\nIN: ::1.110 <- ::1.4\r\n${PROMPT}`,
  );
  tellAll(control, [out.disconnected, idle(1, "cannot connect")]);
  await one.ask(
    "status",
    `${listen}OUT started: 2\r\nOUT finished: 2\r\nIN started: 3\r\nIN finished: 1\r\n` +
      `IN: ${admin.address} <- ${one.local}\r\nIN: ::1.110 <- ::1.4\r\n${PROMPT}`,
  );
});

test("our end of a connection is asked for when status shows it, not before", async () => {
  await using admin = await testAdmin();
  await using one = await admin.connect();
  let asked = 0;
  const ours = () => {
    asked += 1;
    return "127.0.0.1:25";
  };
  tellAll(admin.control, [{ kind: "session.opened", server: "smtp", peer: client, local: ours }]);
  await one.ask("list", `<none>\r\n${PROMPT}`);
  assert.equal(asked, 0);
  await one.ask(
    "status",
    "OUT started: 0\r\nOUT finished: 0\r\nIN started: 2\r\nIN finished: 0\r\n" +
      `IN: ${admin.address} <- ${one.local}\r\nIN: 127.0.0.1:25 <- 127.0.0.1:50079\r\n${PROMPT}`,
  );
  assert.equal(asked, 1);
});

test("status tells clients of a unix socket apart by their number", async () => {
  const path = join(temporary(), "admin");
  await using admin = await testAdmin({ interfaces: [{ kind: "unix", path }] });
  assert.equal(admin.address, path);
  await using one = await admin.connect();
  await one.ask("list", `<none>\r\n${PROMPT}`);
  const two = await admin.connect();
  two.send("notify\r\nlist\r\n");
  await two.expect(`<none>\r\n${PROMPT}`);
  const outs = "OUT started: 0\r\nOUT finished: 0\r\n";
  await one.ask(
    "status",
    `${outs}IN started: 2\r\nIN finished: 0\r\nIN: / <- /\r\nIN: / <- /\r\n${PROMPT}`,
  );
  two.send("quit\r\n");
  await two.rest();
  await two[Symbol.asyncDispose]();
  await one.ask("status", `${outs}IN started: 2\r\nIN finished: 1\r\nIN: / <- /\r\n${PROMPT}`);
});
