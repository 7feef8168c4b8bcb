import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { test } from "node:test";
import { linesOf } from "../../src/observe/text.ts";
import { answers, testPop, untilDot } from "../support/pop-server.ts";
import { IDS, threeMessages } from "../support/three-messages.ts";

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
      "-ERR",
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

test("the log tells no passwords that come where a command should", async () => {
  await using pop = await testPop({ detail: true });
  const { client } = await pop.connect();
  await using _ = client;
  await answers(client, " PASS secret", "PASS\tsecret", "AUTH FOO", "c2VjcmV0", "STAT");
  const told = pop.events.flatMap((event) =>
    event.kind === "traffic" && event.direction === "rx" ? [event.text] : [],
  );
  assert.deepEqual(told, [
    " PASS [not logged]",
    "PASS [not logged]",
    "AUTH FOO",
    "[authentication response not logged]",
    "STAT",
  ]);
});
