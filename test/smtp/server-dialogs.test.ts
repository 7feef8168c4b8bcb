import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { ListenerConfig, ServerTls } from "../../src/core/config.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import {
  plainConfig,
  type Recorded,
  scriptedVerifier,
  testAccounts,
  testListener,
} from "../support/smtp-listener.ts";
import { makeTestCa } from "../support/test-ca.ts";

/*
 * Every file below dialogs/server is a test. Head: "config:" (JSON, laid over the plain one), "tls:"
 * (offered or required), "accounts:" (JSON), "verifier: scripted", and what must have been handed over: one
 * "message:" (JSON, content without the Received line) a message, and parts of the last "envelope:".
 * After an empty line what the client says (C: a line, C# raw bytes as a JSON string, C= in hexadecimal)
 * and expects (S: a line, S- a JSON string, "S: <<EOF>>"); "--- tls" shakes hands, "--- half" closes the
 * sending side.
 */
const folder = join(import.meta.dirname, "../../../test/smtp/dialogs/server");

for (const name of readdirSync(folder)) {
  test(`server dialogue ${name}`, async () => await play(readFileSync(join(folder, name), "utf8")));
}

async function play(text: string): Promise<void> {
  const [head = "", ...rest] = text.split("\n\n");
  const fields = head
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
  const all = (key: string): string[] =>
    fields.filter(([found]) => found === key).map(([, value = ""]) => value);
  const accounts = all("accounts").map(
    (json) => JSON.parse(json) as Parameters<typeof testAccounts>[0],
  )[0];
  const given = all("config").map((json) => JSON.parse(json) as Partial<ListenerConfig>)[0];

  using ca = all("tls").length > 0 ? makeTestCa() : null;
  const tls: ServerTls | null =
    ca === null
      ? null
      : {
          mode: "starttls",
          required: all("tls")[0] === "required",
          certificate: [ca.issue("localhost").combined],
          verify: null,
          versions: { min: null, max: null },
        };
  await using listening = await testListener({
    config: { ...given, smtp: { ...plainConfig.smtp, ...given?.smtp }, tls },
    ...(accounts === undefined ? {} : { accounts: testAccounts(accounts) }),
    ...(all("verifier").length > 0 ? { verifier: scriptedVerifier } : {}),
  });
  await using client = await RawClient.connect(listening.address);
  const lines = rest
    .join("\n\n")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  for (const line of lines) await step(client, line);

  const wanted = all("message");
  if (wanted.length > 0) {
    assert.deepEqual(
      listening.messages.map(withoutTrace),
      wanted.map((one): unknown => JSON.parse(one)),
    );
  }
  for (const envelope of all("envelope").map((json) => JSON.parse(json) as object)) {
    const last = listening.messages.at(-1)?.submission.envelope;
    assert.deepEqual({ ...last, ...envelope }, last);
  }
}

async function step(client: RawClient, line: string): Promise<void> {
  const rest = line.slice(3);
  switch (line.slice(0, 3)) {
    case "C: ":
      return client.send(`${rest}\r\n`);
    case "C# ":
      return client.send(String(JSON.parse(rest)));
    case "C= ":
      return client.send(Buffer.from(rest, "hex"));
    case "S: ":
      return assert.equal(await client.line(), rest);
    case "S- ":
      return assert.equal(await client.line(), JSON.parse(rest));
  }
  if (line === "--- tls") await client.startTls();
  else if (line === "--- half") client.half();
  else assert.fail(`No such step: ${line}`);
}

function withoutTrace({ content, refusal }: Recorded): { content: string; refusal: unknown } {
  const end = content.startsWith("Received: ") ? content.indexOf("\r\n") + 2 : 0;
  return { content: content.slice(end), refusal };
}
