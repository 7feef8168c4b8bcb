import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { linesOf } from "../../src/observe/text.ts";
import { answers, type TestPop, testPop, untilDot } from "../support/pop-server.ts";

const MESSAGE = "Subject: s1\r\nX: y\r\n\r\nline1\r\n.dot\r\nline3\r\n";
const IDS = [1, 2, 3].map((n) => `emailrelay.2090${n}.1795226576.1`);

async function threeMessages(changes: Parameters<typeof testPop>[0] = {}): Promise<TestPop> {
  const pop = await testPop(changes);
  for (const id of IDS) pop.put(id, MESSAGE);
  return pop;
}

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

test("APOP takes the digest of challenge and password, of plain secrets only", async () => {
  await using pop = await threeMessages();
  const digest = (challenge: string, password: string) =>
    createHash("md5").update(challenge).update(password).digest("hex");
  for (const [id, password] of [
    ["me", "secret"],
    ["alice", "e=mc2 +"],
  ] as const) {
    const { client, greeting } = await pop.connect();
    await using _ = client;
    const challenge = /<.*>/.exec(greeting)?.[0] ?? "";
    const wrong = digest(challenge, "wrong");
    const good = digest(challenge, password);
    assert.deepEqual(
      await answers(client, `APOP ${id} ${wrong}`, `APOP ${id} ${good.toUpperCase()}`),
      ["-ERR", "+OK"],
    );
  }
  const { client, greeting } = await pop.connect();
  await using _ = client;
  const mask = "3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE=";
  const challenge = /<.*>/.exec(greeting)?.[0] ?? "";
  const tries = ["foobar", mask].map((one) => `APOP hashed ${digest(challenge, one)}`);
  assert.deepEqual(
    await answers(client, ...tries, "APOP me", "APOP", "STAT"),
    Array(5).fill("-ERR"),
  );
  const told = pop.events.flatMap((event) =>
    event.kind === "auth.accepted" ? [event.detail] : [],
  );
  assert.equal(told[0], "using mechanism [apop] and plaintext secret for [me] from line 1");
});

test("every greeting has a challenge of its own, and none where APOP is of no use", async () => {
  await using pop = await testPop();
  const greetings = new Set<string>();
  for (const _ of [1, 2, 3]) {
    const { client, greeting } = await pop.connect();
    greetings.add(greeting);
    await client[Symbol.asyncDispose]();
  }
  assert.equal(greetings.size, 3);
  for (const [authConfig, secrets] of [
    ["m:cram-md5", "server plain me secret"],
    ["x:apop", "server plain me secret"],
    ["", "server md5 me 3pIN0aPbd5aN0S4ogKA3w2P3P9XH0hXchLP1W+adpQE="],
  ] as const) {
    await using other = await testPop({ config: { authConfig }, secrets });
    const { client, greeting } = await other.connect();
    await using _ = client;
    assert.equal(greeting, "+OK POP3 server ready");
    assert.deepEqual(await answers(client, `APOP me ${"0".repeat(32)}`), ["-ERR"]);
  }
});

const base64 = (text: string): string => Buffer.from(text, "latin1").toString("base64");

test("AUTH PLAIN and LOGIN, with and without initial response", async () => {
  await using pop = await threeMessages();
  const plain = base64("\0me\0secret");
  for (const exchange of [
    [`AUTH PLAIN ${plain}`],
    ["auth plain", plain],
    ["AUTH LOGIN", base64("me"), base64("secret")],
    [`AUTH LOGIN ${base64("me")}`, base64("secret")],
  ]) {
    const { client } = await pop.connect();
    await using _ = client;
    const said = await answers(client, ...exchange, "STAT");
    assert.deepEqual(said.slice(-2), ["+OK", "+OK 3 123"]);
    assert.ok(said.slice(0, -2).every((one) => one.startsWith("+ ")));
  }
});

test("AUTH CRAM with every hash", async () => {
  await using pop = await threeMessages();
  for (const [hash, id, password] of [
    ["sha512", "me", "secret"],
    ["sha256", "me", "secret"],
    ["sha1", "me", "secret"],
    ["md5", "me", "secret"],
    ["md5", "hashed", "foobar"],
  ] as const) {
    const { client } = await pop.connect();
    await using _ = client;
    const [asked = ""] = await answers(client, `AUTH CRAM-${hash.toUpperCase()}`);
    const challenge = Buffer.from(asked.slice(2), "base64");
    const mac = createHmac(hash, password).update(challenge).digest("hex");
    assert.deepEqual(await answers(client, base64(`${id} ${mac}`), "STAT"), ["+OK", "+OK 3 123"]);
  }
});

test("AUTH refuses what it cannot use, and can be cancelled", async () => {
  await using pop = await testPop();
  const { client } = await pop.connect();
  await using _ = client;
  assert.deepEqual(
    await answers(
      client,
      "AUTH FOO",
      "AUTH PLAIN =AAA",
      "AUTH PLAIN AAAA BBBB",
      "AUTH CRAM-MD5 AAAA",
      "AUTH PLAIN",
      "*",
      "AUTH PLAIN =",
    ),
    [
      "-ERR invalid mechanism",
      "-ERR invalid initial response",
      "-ERR invalid initial response",
      "-ERR invalid initial response",
      "+ ",
      "-ERR authentication cancelled",
      "-ERR",
    ],
  );
});

test("without the mechanism PLAIN there is no USER", async () => {
  await using pop = await testPop({ config: { authConfig: "x:plain" } });
  const { client } = await pop.connect();
  await using _ = client;
  const refusal = "-ERR no SASL PLAIN mechanism to do USER/PASS authentication";
  assert.deepEqual(await answers(client, "USER me"), [refusal]);
  client.send("CAPA\r\n");
  assert.deepEqual((await untilDot(client)).slice(1, 4), ["CAPA", "TOP", "UIDL"]);
});

test("passwords may hold blanks, and names 8-bit letters", async () => {
  await using pop = await testPop();
  await using _alice = await pop.logIn("alice", "e=mc2 +");
  const { client } = await pop.connect();
  await using _ = client;
  client.send(Buffer.from("USER caf\xe9\r\nPASS secret\r\n", "latin1"));
  assert.deepEqual([await client.line(), await client.line()], ["+OK user: caf?", "+OK"]);
});

test("the log tells who came and went, and no secrets", async () => {
  await using pop = await threeMessages({ detail: true });
  const { client } = await pop.connect();
  await using _ = client;
  await answers(
    client,
    "USER me",
    "PASS wrongpassword",
    "APOP me digest",
    "AUTH PLAIN",
    "c2VjcmV0",
  );
  await answers(client, `AUTH PLAIN ${base64("\0me\0secret")}`, "RETR 1");
  await untilDot(client);
  await answers(client, "DELE 1", "QUIT");
  const text = pop.events.flatMap((event) => linesOf(event).map((line) => line.text)).join("\n");
  assert.match(text, /^pop connection from 127\.0\.0\.1:\d+$/m);
  assert.match(text, /^pop connection closed: pop protocol done: 127\.0\.0\.1:\d+$/m);
  assert.match(text, /^failed authentication of remote client using mechanism \[plain\]/m);
  assert.match(text, /^successful authentication of remote client using mechanism \[plain\]/m);
  assert.match(text, /^rx<<: "RETR 1"$/m);
  assert.match(text, /^tx>>: \[message content not logged\]$/m);
  assert.match(text, new RegExp(`^deleting envelope \\[${IDS[0]}\\.envelope\\]$`, "m"));
  assert.doesNotMatch(text, /wrongpassword|digest|c2VjcmV0|AG1l|line1/);
});
