import assert from "node:assert/strict";
import { test } from "node:test";
import { RawClient } from "../support/raw-smtp-client.ts";
import { testAccounts, testListener } from "../support/smtp-listener.ts";

test("traffic is told with content and authentication masked", async () => {
  const accounts = testAccounts({ insecure: ["PLAIN", "LOGIN"] });
  await using listening = await testListener({ accounts, detail: true });
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  await client.ask("HELO x");
  await client.ask("AUTH PLAIN AGFsaWNlAGJhZA==");
  await client.ask("AUTH LOGIN");
  await client.ask("YWxpY2U=");
  await client.ask("ZT1tYzI=");
  await client.ask("MAIL FROM:<a@b>");
  await client.ask("RCPT TO:<r@x>");
  await client.ask("DATA");
  await client.ask("secret content\r\n.");
  const told = listening.events.flatMap((event) =>
    event.kind === "traffic" && event.direction === "rx" ? [event.text] : [],
  );
  assert.deepEqual(told, [
    "HELO x",
    "AUTH PLAIN [not logged]",
    "AUTH LOGIN",
    "[authentication response not logged]",
    "[authentication response not logged]",
    "MAIL FROM:<a@b>",
    "RCPT TO:<r@x>",
    "DATA",
    "[message content not logged]",
    ".",
  ]);
});

test("traffic is told without passwords that come where a command should", async () => {
  const accounts = testAccounts({ insecure: ["PLAIN", "LOGIN"] });
  await using listening = await testListener({ accounts, detail: true });
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  await client.ask("HELO x");
  await client.ask(" AUTH PLAIN AGFsaWNlAGJhZA==");
  await client.ask("AUTH LOGIN YWxpY2U= x");
  await client.ask("ZT1tYzI=");
  await client.ask("NOOP");
  const told = listening.events.flatMap((event) =>
    event.kind === "traffic" && event.direction === "rx" ? [event.text] : [],
  );
  assert.deepEqual(told, [
    "HELO x",
    " AUTH PLAIN [not logged]",
    "AUTH LOGIN [not logged]",
    "[authentication response not logged]",
    "NOOP",
  ]);
});

test("a null sender is a warning that needs no --verbose", async () => {
  await using listening = await testListener();
  await using client = await RawClient.connect(listening.address);
  await client.reply();
  await client.ask("HELO x");
  assert.equal(await client.ask("MAIL FROM:<>"), "250 sender <> OK");
  const text = "empty MAIL-FROM return path";
  const notes = listening.events.filter(({ kind }) => kind === "note");
  assert.deepEqual(notes, [{ kind: "note", level: "warning", detail: false, text }]);
});
