import assert from "node:assert/strict";
import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { answers, testPop, untilDot } from "../support/pop-server.ts";
import { IDS, MESSAGE, threeMessages } from "../support/three-messages.ts";

test("the POP server speaks the sample session word by word", async () => {
  await using pop = await threeMessages({ secrets: "server plain me secret\n" });
  const { client, greeting } = await pop.connect();
  await using _ = client;
  assert.match(greeting, /^\+OK POP3 server ready <\d+\.\d+@relay\.test\.localnet>$/);
  const script = `
C: STAT
S: -ERR
C: CAPA
S: +OK capability list follows
S: USER
S: CAPA
S: TOP
S: UIDL
S: SASL CRAM-SHA512 CRAM-SHA256 CRAM-SHA1 CRAM-MD5 PLAIN LOGIN
S: .
C: AUTH
S: +OK
S: CRAM-SHA512
S: CRAM-SHA256
S: CRAM-SHA1
S: CRAM-MD5
S: PLAIN
S: LOGIN
S: .
C: USER me
S: +OK user: me
C: PASS bad
S: -ERR
C: USER me
S: +OK user: me
C: PASS secret
S: +OK
C: STAT
S: +OK 3 123
C: LIST
S: +OK 3 message(s)
S: 1 41
S: 2 41
S: 3 41
S: .
C: LIST 2
S: +OK 2 41
C: LIST 9
S: -ERR invalid id
C: UIDL
S: +OK 3 message(s)
S: 1 emailrelay.20901.1795226576.1.content
S: 2 emailrelay.20902.1795226576.1.content
S: 3 emailrelay.20903.1795226576.1.content
S: .
C: UIDL 1
S: +OK 1 emailrelay.20901.1795226576.1.content
C: TOP 1 1
S: +OK
S: Subject: s1
S: X: y
S: 
S: line1
S: .
C: TOP 1
S: -ERR
C: RETR 1
S: +OK 41 octets
S: Subject: s1
S: X: y
S: 
S: line1
S: ..dot
S: line3
S: .
C: RETR 9
S: -ERR
C: DELE 1
S: +OK
C: DELE 1
S: -ERR
C: STAT
S: +OK 2 82
C: LIST
S: +OK 2 message(s)
S: 2 41
S: 3 41
S: .
C: NOOP
S: +OK
C: RSET
S: +OK
C: STAT
S: +OK 3 123
C: DELE 2
S: +OK
C: FOO
S: -ERR
C: QUIT
S: +OK signing off
S: <<EOF>>`;
  for (const line of script.trim().split("\n")) {
    if (line.startsWith("C: ")) client.send(`${line.slice(3)}\r\n`);
    else assert.equal(await client.line(), line.slice(3));
  }
  assert.deepEqual(
    pop.names(),
    [IDS[0], IDS[2]].flatMap((id) => [`${id}.content`, `${id}.envelope`]),
  );
});

test("the POP server answers a whole pipelined session in order", async () => {
  await using pop = await threeMessages();
  const { client } = await pop.connect();
  await using _ = client;
  client.send("USER me\r\nPASS secret\r\nSTAT\r\nRETR 1\r\nLIST\r\nDELE 1\r\nQUIT\r\n");
  client.half();
  const retrieved = `+OK 41 octets\r\n${MESSAGE.replace("\r\n.", "\r\n..")}.\r\n`;
  const listed = "+OK 3 message(s)\r\n1 41\r\n2 41\r\n3 41\r\n.\r\n";
  assert.equal(
    await client.rest(),
    `+OK user: me\r\n+OK\r\n+OK 3 123\r\n${retrieved}${listed}+OK\r\n+OK signing off\r\n`,
  );
  assert.equal(pop.names().length, 4);
});

test("the POP server lists what has an envelope that waits, and content, sorted", async () => {
  await using pop = await testPop();
  pop.put("b", "12");
  pop.put("a.1", "123");
  pop.put("a", "1");
  pop.put("empty", "");
  pop.put(".hidden", "1");
  for (const state of ["new", "busy", "bad"]) {
    pop.write(`c.${state}.content`, "1");
    pop.write(`c.${state}.envelope.${state}`, "1");
  }
  pop.write("alone.content", "1");
  pop.write("alone2.envelope", "1");
  pop.folder("folder.envelope");
  pop.write("folder.content", "1");
  await using client = await pop.logIn();
  client.send("UIDL\r\n");
  const lines = await untilDot(client);
  assert.deepEqual(lines, ["+OK 3 message(s)", "1 a.1.content", "2 a.content", "3 b.content"]);
});

test("UIDL gives names that RFC 1939 does not allow another form, which stays", async () => {
  await using pop = await testPop();
  pop.put("x y", "1");
  pop.put("z".repeat(80), "1");
  const seen: string[][] = [];
  for (const _ of [1, 2]) {
    await using client = await pop.logIn();
    client.send("UIDL\r\n");
    seen.push((await untilDot(client)).slice(1));
  }
  assert.match(seen[0]?.join("\n") ?? "", /^1 [0-9a-f]{64}\n2 [0-9a-f]{64}$/);
  assert.deepEqual(seen[0], seen[1]);
});

test("commands of the other state, and numbers that mean no message, are errors", async () => {
  await using pop = await threeMessages();
  const { client } = await pop.connect();
  await using _ = client;
  const before = ["STAT", "LIST", "UIDL", "RETR 1", "TOP 1 0", "DELE 1", "RSET", "NOOP", "PASS x"];
  assert.deepEqual(
    new Set(await answers(client, ...before, "STLS", "LAST", "UTF8")),
    new Set(["-ERR"]),
  );
  await answers(client, "USER me", "PASS secret");
  const after = ["USER me", "PASS secret", "APOP me x", "AUTH PLAIN", "STLS"];
  assert.deepEqual(new Set(await answers(client, ...after)), new Set(["-ERR"]));
  const numbers = ["0", "-1", "+1", "4", "1e0", "0x1", "99999999999999999999", "1 1", "\0", "x"];
  const bad = numbers.flatMap((n) => [`RETR ${n}`, `DELE ${n}`]);
  assert.deepEqual(new Set(await answers(client, ...bad.slice(0, 14))), new Set(["-ERR"]));
  const lists = numbers.flatMap((n) => [`LIST ${n}`, `UIDL ${n}`]);
  assert.deepEqual(new Set(await answers(client, ...lists)), new Set(["-ERR invalid id"]));
  assert.deepEqual(await answers(client, "TOP 1 -1", "TOP 1 x", "stat", "LIST 01"), [
    "-ERR",
    "-ERR",
    "+OK 3 123",
    "+OK 1 41",
  ]);
  client.send("TOP 1 99999999999999999999\r\n");
  assert.equal((await untilDot(client)).length, 7);
});

test("nothing is removed without QUIT", async () => {
  await using pop = await threeMessages();
  {
    await using client = await pop.logIn();
    assert.deepEqual(await answers(client, "DELE 1", "DELE 2"), ["+OK", "+OK"]);
  }
  await pop.told(({ kind }) => kind === "session.closed");
  assert.equal(pop.names().length, 6);
});

test("RSET forgets what was to be removed", async () => {
  await using pop = await threeMessages();
  await using client = await pop.logIn();
  await answers(client, "DELE 1", "RSET", "DELE 3", "QUIT");
  assert.deepEqual(
    pop.names().filter((name) => name.endsWith(".content")),
    [`${IDS[0]}.content`, `${IDS[1]}.content`],
  );
});

test("noDelete keeps what was deleted", async () => {
  await using pop = await threeMessages({ config: { noDelete: true } });
  await using client = await pop.logIn();
  const said = await answers(client, "DELE 1", "STAT", "QUIT");
  assert.deepEqual(said, ["+OK", "+OK 2 82", "+OK signing off"]);
  assert.equal(pop.names().length, 6);
});

test("QUIT leaves alone what a forwarder has taken since the login", async () => {
  await using pop = await threeMessages();
  await using client = await pop.logIn();
  await answers(client, "DELE 1", "DELE 2");
  pop.link(`${IDS[0]}.envelope`, `${IDS[0]}.envelope.busy`);
  unlinkSync(join(pop.directory, `${IDS[0]}.envelope`));
  assert.deepEqual(await answers(client, "QUIT"), ["+OK signing off"]);
  assert.deepEqual(pop.names(), [
    `${IDS[0]}.content`,
    `${IDS[0]}.envelope.busy`,
    `${IDS[2]}.content`,
    `${IDS[2]}.envelope`,
  ]);
});

test("QUIT says so when something could not be removed", async () => {
  await using pop = await threeMessages();
  await using client = await pop.logIn();
  await answers(client, "DELE 1", "DELE 2");
  unlinkSync(join(pop.directory, `${IDS[0]}.envelope`));
  pop.folder(`${IDS[0]}.envelope`);
  assert.deepEqual(await answers(client, "QUIT"), ["-ERR some deleted messages not removed"]);
  assert.deepEqual(pop.names(), [
    `${IDS[0]}.content`,
    `${IDS[0]}.envelope`,
    `${IDS[2]}.content`,
    `${IDS[2]}.envelope`,
  ]);
});

test("two sessions at once see the same messages, and both may remove them", async () => {
  await using pop = await threeMessages();
  await using one = await pop.logIn();
  await using two = await pop.logIn();
  await answers(one, "DELE 1", "DELE 2");
  await answers(two, "DELE 2", "DELE 3");
  one.send("QUIT\r\n");
  two.send("QUIT\r\n");
  assert.deepEqual([await one.line(), await two.line()], ["+OK signing off", "+OK signing off"]);
  assert.deepEqual(pop.names(), []);
});

test("a message that has gone since the login is an error, and the session goes on", async () => {
  await using pop = await threeMessages();
  await using client = await pop.logIn();
  unlinkSync(join(pop.directory, `${IDS[0]}.content`));
  const gone = "-ERR message not available";
  assert.deepEqual(await answers(client, "RETR 1", "TOP 1 1", "STAT"), [gone, gone, "+OK 3 123"]);
  client.send("RETR 2\r\n");
  assert.equal((await untilDot(client)).length, 7);
});
