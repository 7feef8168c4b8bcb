import assert from "node:assert/strict";
import { lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { answers, testPop, untilDot } from "../support/pop-server.ts";

const byName = { config: { byName: true } };

test("by name, an account has the folder of its name, made at the login", async () => {
  await using pop = await testPop(byName);
  pop.put("other", "in the spool\r\n");
  await using client = await pop.logIn();
  assert.deepEqual(await answers(client, "STAT"), ["+OK 0 0"]);
  assert.equal(lstatSync(join(pop.directory, "me")).mode & 0o7777, 0o770);
  pop.put("mine", "in the folder\r\n", "me");
  await using again = await pop.logIn();
  again.send("RETR 1\r\n");
  assert.deepEqual(await untilDot(again), ["+OK 15 octets", "in the folder"]);
  assert.deepEqual(await answers(again, "DELE 1", "QUIT"), ["+OK", "+OK signing off"]);
  assert.deepEqual(pop.names("me"), []);
  assert.deepEqual(pop.names(), ["me", "other.content", "other.envelope"]);
});

test("by name, content may lie in the spool, and goes with the last of its envelopes", async () => {
  await using pop = await testPop(byName);
  pop.folder("me");
  pop.folder("alice");
  pop.write("m.content", "shared\r\n");
  for (const folder of ["me", "alice"]) pop.write(`${folder}/m.envelope`, "x");
  const secrets = { me: "secret", alice: "e=mc2 +" };
  for (const [id, password] of Object.entries(secrets)) {
    assert.ok(pop.names().includes("m.content"));
    await using client = await pop.logIn(id, password);
    client.send("UIDL\r\nRETR 1\r\n");
    assert.deepEqual(await untilDot(client), ["+OK 1 message(s)", "1 m.content"]);
    assert.deepEqual(await untilDot(client), ["+OK 8 octets", "shared"]);
    assert.deepEqual(await answers(client, "DELE 1", "QUIT"), ["+OK", "+OK signing off"]);
    assert.deepEqual(pop.names(id), []);
  }
  assert.deepEqual(pop.names(), ["alice", "me"]);
});

test("by name, content in the spool stays while any envelope of that name is left, whatever its state", async () => {
  for (const left of [
    "m.envelope.busy",
    "m.envelope",
    "alice/m.envelope.bad",
    "alice/m.envelope.new",
  ]) {
    await using pop = await testPop(byName);
    pop.folder("me");
    pop.folder("alice");
    pop.write("m.content", "shared\r\n");
    pop.write("me/m.envelope", "x");
    pop.write(left, "x");
    await using client = await pop.logIn();
    assert.deepEqual(await answers(client, "DELE 1", "QUIT"), ["+OK", "+OK signing off"]);
    assert.deepEqual(pop.names("me"), []);
    assert.ok(pop.names().includes("m.content"), left);
  }
});

test("by name, a copy of the content in the folder goes, and that in the spool stays", async () => {
  await using pop = await testPop(byName);
  pop.folder("me");
  pop.put("m", "copy\r\n");
  pop.put("m", "copy\r\n", "me");
  await using client = await pop.logIn();
  assert.deepEqual(await answers(client, "DELE 1", "QUIT"), ["+OK", "+OK signing off"]);
  assert.deepEqual(pop.names("me"), []);
  assert.deepEqual(pop.names(), ["m.content", "m.envelope", "me"]);
});

test("not by name, content that other folders have envelopes for stays", async () => {
  await using pop = await testPop();
  pop.folder("alice");
  pop.put("m", "shared\r\n");
  pop.write("alice/m.envelope", "x");
  await using client = await pop.logIn();
  assert.deepEqual(await answers(client, "DELE 1", "QUIT"), ["+OK", "+OK signing off"]);
  assert.deepEqual(pop.names(), ["alice", "m.content"]);
});

test("by name, names that are no plain directory names open no mailbox", async () => {
  const names = ["..", ".", "../x", "a/b", "/etc", ".relayd", "a\x01b", "x.envelope", "m.content"];
  const b64 = (text: string): string => Buffer.from(text, "latin1").toString("base64");
  const long = "n".repeat(300);
  const secrets = [...names, "caf\xe9", long].map((id) => `server plain:b ${b64(id)} ${b64("pw")}`);
  await using pop = await testPop({ ...byName, secrets: secrets.join("\n") });
  const { client } = await pop.connect();
  await using _ = client;
  for (const id of [...names, "caf\xe9", long]) {
    const [said] = await answers(client, `AUTH PLAIN ${b64(`\0${id}\0pw`)}`);
    assert.equal(said, "-ERR cannot open the mailbox", id);
  }
  assert.deepEqual(await answers(client, "STAT"), ["-ERR"]);
  assert.deepEqual(pop.names(), []);
});

test("by name, a symbolic link or a file in the place of the folder is refused", async () => {
  const outside = mkdtempSync(join(tmpdir(), "relayd-pop-outside-"));
  try {
    await using pop = await testPop(byName);
    symlinkSync(outside, join(pop.directory, "me"));
    pop.write("alice", "a file");
    await assert.rejects(pop.logIn(), /cannot open the mailbox/);
    await assert.rejects(pop.logIn("alice", "e=mc2 +"), /cannot open the mailbox/);
    const told = pop.events.filter((event) => event.kind === "note" && event.level === "warning");
    assert.equal(told.length, 2);
  } finally {
    rmSync(outside, { recursive: true });
  }
});

test("symbolic links in the spool are no messages", async () => {
  await using pop = await testPop();
  symlinkSync("/etc/passwd", join(pop.directory, "a.content"));
  pop.write("a.envelope", "x");
  pop.write("b.content", "x");
  symlinkSync("/etc/passwd", join(pop.directory, "b.envelope"));
  mkdirSync(join(pop.directory, "c.content"));
  pop.write("c.envelope", "x");
  await using client = await pop.logIn();
  assert.deepEqual(await answers(client, "STAT"), ["+OK 0 0"]);
});

test("content that becomes a symbolic link after the login is not followed", async () => {
  await using pop = await testPop();
  pop.put("a", "x");
  await using client = await pop.logIn();
  rmSync(join(pop.directory, "a.content"));
  symlinkSync("/etc/passwd", join(pop.directory, "a.content"));
  assert.deepEqual(await answers(client, "RETR 1"), ["-ERR message not available"]);
});
