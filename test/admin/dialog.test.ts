/** The admin protocol, byte for byte as E-MailRelay speaks it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeControl, PROMPT, testAdmin } from "../support/admin.ts";

const HELP =
  "commands: dnsbl, failures, flush, forward, help, info, list, notify, pid, quit, smtp, status, terminate, unfail-all";

test("an admin session says nothing before the first command, then a prompt after each reply", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  await client.ask("help", `${HELP}\r\n${PROMPT}`);
  await client.ask("HELP", `${HELP}\r\n${PROMPT}`);
  await client.ask(" ", PROMPT);
  await client.ask("", PROMPT);
  await client.ask("  list \t now ", `<none>\r\n${PROMPT}`);
  await client.ask("pid", `${process.pid}\r\n${PROMPT}`);
});

test("help does not name terminate where it is not allowed, and terminate is unknown there", async () => {
  await using admin = await testAdmin({ terminate: false });
  await using client = await admin.connect();
  await client.ask("help", `${HELP.replace("terminate, ", "")}\r\n${PROMPT}`);
  await client.ask("terminate", `error: unrecognised command\r\n${PROMPT}`);
  assert.deepEqual(admin.control.asked, []);
});

test("list and failures show ids a line each, with single line ends for CRLF clients", async () => {
  await using admin = await testAdmin();
  admin.control.waiting = ["emailrelay.9452.1795226072.1", "emailrelay.9454.1795226072.1"];
  await using client = await admin.connect();
  await client.ask(
    "list",
    `emailrelay.9452.1795226072.1\r\nemailrelay.9454.1795226072.1\r\n${PROMPT}`,
  );
  await client.ask("failures", `<none>\r\n${PROMPT}`);
});

test("list shows control characters of a file name as question marks", async () => {
  await using admin = await testAdmin();
  admin.control.waiting = [`a\n${PROMPT}b\x1b[2J`];
  await using client = await admin.connect();
  await client.ask("list", `a?${PROMPT}b?[2J\r\n${PROMPT}`);
});

test("replies have the line ends of the client's first line", async () => {
  await using admin = await testAdmin();
  admin.control.waiting = ["one", "two"];
  await using client = await admin.connect();
  client.send("list\n");
  await client.expect(`one\ntwo\n${PROMPT}`);
  client.send("pid\r\n");
  await client.expect(`${process.pid}\n${PROMPT}`);
});

test("unfail-all answers with the prompt alone", async () => {
  await using admin = await testAdmin();
  admin.control.bad = ["emailrelay.9452.1795226072.1"];
  await using client = await admin.connect();
  await client.ask("failures", `emailrelay.9452.1795226072.1\r\n${PROMPT}`);
  await client.ask("unfail-all", PROMPT);
  await client.ask("list", `emailrelay.9452.1795226072.1\r\n${PROMPT}`);
});

test("info tells the version and about the program, or how to ask", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  const usage = `usage: info {copyright|credit|version|warranty}\r\n${PROMPT}`;
  await client.ask("info", usage);
  await client.ask("info nonsense", usage);
  await client.ask("info Version", `2.6b\r\n${PROMPT}`);
  await client.ask("info copyright", `Copyright (c) 2026 The relayd authors\r\n${PROMPT}`);
  client.send("info warranty\r\ninfo credit\r\nquit\r\n");
  const [warranty = "", credit = ""] = (await client.rest()).split(PROMPT);
  assert.match(
    warranty,
    /^This program comes with ABSOLUTELY NO WARRANTY\.\r\n[\s\S]*LICENSE\.\r\n\r\n$/,
  );
  assert.match(credit, /^This program runs on Node\.js [\s\S]*\r\n\r\n$/);
});

test("dnsbl and smtp are handed on, and explain themselves", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  const usage = `usage: dnsbl {start|stop <timeout>}\r\n${PROMPT}`;
  for (const line of [
    "dnsbl",
    "dnsbl x",
    "dnsbl stop x",
    "dnsbl stop -1",
    "dnsbl stop 9999999999",
  ]) {
    await client.ask(line, usage);
  }
  for (const line of ["dnsbl start", "dnsbl stop", "dnsbl stop 10"]) {
    await client.ask(line, `OK\r\n${PROMPT}`);
  }
  for (const line of ["smtp", "smtp off"]) {
    await client.ask(line, `usage: smtp {disable|enable}\r\n${PROMPT}`);
  }
  await client.ask("smtp disable", `OK\r\n${PROMPT}`);
  await client.ask("smtp enable", `OK\r\n${PROMPT}`);
  assert.deepEqual(admin.control.asked, [
    ...["dnsbl 0", "dnsbl 3600", "dnsbl 10", "smtp false", "smtp true"],
  ]);
});

test("forward answers at once; without a smarthost it says so", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  await client.ask("forward", `OK\r\n${PROMPT}`);
  admin.control.forwards = false;
  const none = `error: no remote server configured: use --forward-to\r\n${PROMPT}`;
  await client.ask("forward", none);
  await client.ask("flush", none);
  assert.deepEqual(admin.control.asked, ["forward"]);
});

test("flush is silent until its run ends, and other commands work meanwhile", async () => {
  await using admin = await testAdmin();
  const { flushes } = admin.control;
  await using client = await admin.connect();
  client.send("flush\r\nlist\r\nflush\r\n");
  await client.expect(`<none>\r\n${PROMPT}error: still working\r\n${PROMPT}`);
  flushes[0]?.({ tried: 1, error: null });
  await client.expect(`OK\r\n${PROMPT}`);
  await using other = await admin.connect();
  client.send("flush\r\n");
  other.send("flush\r\nlist\r\n");
  await client.ask("list", `<none>\r\n${PROMPT}`);
  await other.expect(`<none>\r\n${PROMPT}`);
  flushes[1]?.({ tried: 0, error: null });
  flushes[2]?.({ tried: 1, error: 'dns error: no such host: "x"\r\n550 y' });
  await client.expect(`error: no messages to send\r\n${PROMPT}`);
  await other.expect(`error: dns error: no such host: "x" 550 y\r\n${PROMPT}`);
  client.send("flush\r\n");
  await client.ask("list", `<none>\r\n${PROMPT}`);
  flushes[3]?.(new Error("cannot read spool directory"));
  await client.expect(`error: cannot read spool directory\r\n${PROMPT}`);
});

test("a spool that cannot be read is an error line, and the session goes on", async () => {
  const control = new FakeControl();
  control.list = async () => await Promise.reject(new Error("cannot read\nthe spool"));
  await using admin = await testAdmin({ control });
  await using client = await admin.connect();
  await client.ask("list", `error: cannot read the spool\r\n${PROMPT}`);
  await client.ask("failures", `<none>\r\n${PROMPT}`);
});

test("terminate ends the program without a reply, and what follows it is not done", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  client.send("pid\r\nterminate\r\nforward\r\n");
  assert.equal(await client.rest(), `${process.pid}\r\n${PROMPT}`);
  assert.deepEqual(admin.control.asked, ["terminate"]);
  await admin.server.drain(new AbortController().signal);
});

test("a drain that begins in terminate itself ends the session too", async () => {
  const control = new FakeControl();
  const drained = new Promise<void>((resolve, reject) => {
    control.terminate = () => {
      admin.server.drain(new AbortController().signal).then(resolve, reject);
    };
  });
  await using admin = await testAdmin({ control });
  await using client = await admin.connect();
  client.send("pid\r\nterminate\r\n");
  assert.equal(await client.rest(), `${process.pid}\r\n${PROMPT}`);
  await drained;
});

test("quit closes the connection, and what follows it is not looked at", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  client.send("forward\r\nquit\r\nforward\r\n");
  assert.equal(await client.rest(), `OK\r\n${PROMPT}`);
  assert.deepEqual(admin.control.asked, ["forward"]);
  assert.deepEqual(
    admin.events.map(({ kind }) => kind),
    ["session.opened", "session.closed"],
  );
});

test("the 30th unknown command drops the connection", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  client.send("foo\r\n".repeat(40));
  assert.equal(await client.rest(), `error: unrecognised command\r\n${PROMPT}`.repeat(29));
});

test("a client that closes its sending side gets its replies, that of a flush too", async () => {
  await using admin = await testAdmin();
  await using client = await admin.connect();
  client.socket.end("list\nflush\npid");
  await client.expect(`<none>\n${PROMPT}`);
  admin.control.flushes[0]?.({ tried: 1, error: null });
  assert.equal(await client.rest(), `OK\n${PROMPT}`);
});

test("a drain lets the flush in hand end, and sends the others away", async () => {
  await using admin = await testAdmin();
  await using flushing = await admin.connect();
  await using idle = await admin.connect();
  await idle.ask("list", `<none>\r\n${PROMPT}`);
  flushing.send("flush\r\nlist\r\n");
  await flushing.expect(`<none>\r\n${PROMPT}`);
  const drained = admin.server.drain(new AbortController().signal);
  assert.equal(await idle.rest(), "");
  admin.control.flushes[0]?.({ tried: 1, error: null });
  assert.equal(await flushing.rest(), `OK\r\n${PROMPT}`);
  await drained;
  assert.equal(admin.control.listeners.size, 0);
});
