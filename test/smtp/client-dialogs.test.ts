import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assertNever } from "../../src/core/assert-never.ts";
import type { Envelope } from "../../src/core/envelope.ts";
import type { Receipt, RejectedRecipient } from "../../src/core/transport.ts";
import { aMessage, clientDefaults, contentOf, testClient } from "../support/client-under-test.ts";
import { type PeerConnection, SmtpPeer } from "../support/smtp-peer.ts";

/*
 * Every file below dialogs/client is a test. Head: "message:" (JSON, an envelope), "content:" (JSON
 * string), "recipients:", "pipelining:", "eightbitstrict:", one "receipt:" a message. After an empty line what the
 * smarthost says (S: a line, S- a JSON string) and expects (C: a line, C. content up to the final
 * dot and C# raw bytes as JSON strings); "--- close", "--- silent" (nothing more may come for now)
 * and "--- gone" (the client leaves, and has said nothing more).
 */
const folder = join(import.meta.dirname, "../../../test/smtp/dialogs/client");

for (const name of readdirSync(folder)) {
  test(`client dialogue ${name}`, async () => await play(readFileSync(join(folder, name), "utf8")));
}

async function play(text: string): Promise<void> {
  const [head = "", ...rest] = text.split("\n\n");
  const lines = rest.join("\n\n").split("\n").filter(Boolean);
  const fields = head
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
  const all = (key: string): string[] =>
    fields.filter(([found]) => found === key).map(([, value = ""]) => value);

  await using peer = await SmtpPeer.listen(async (connection) => {
    for (const line of lines) await step(connection, line);
  });
  await using client = testClient({
    recipients: all("recipients")[0] === "some" ? "some" : "all",
    config: {
      smtp: {
        ...clientDefaults.smtp,
        pipelining: all("pipelining")[0] === "true",
        eightbitstrict: all("eightbitstrict")[0] === "true",
      },
    },
  });
  const given = all("message").map((json) => JSON.parse(json) as Partial<Envelope>);
  const content = parseText(all("content")[0] ?? '"Subject: x\\r\\n\\r\\nhello\\r\\n"');
  const receipts: string[] = [];
  for (const message of given.length > 0 ? given : [aMessage]) {
    receipts.push(describe(await client.deliver(peer.address, message, contentOf(content))));
  }
  assert.deepEqual(receipts, all("receipt"));
  await client.transport.quit();
  await peer.done();
  assert.equal(peer.connections, 1);
}

async function step(peer: PeerConnection, line: string): Promise<void> {
  const rest = line.slice(3);
  if (line.startsWith("S: ")) peer.say(rest);
  else if (line.startsWith("S- ")) peer.raw(parseText(rest));
  else if (line.startsWith("C: ")) await peer.expect(rest);
  else if (line.startsWith("C. ")) assert.equal(await peer.content(), parseText(rest));
  else if (line.startsWith("C# ")) {
    const wanted = parseText(rest);
    assert.equal((await peer.bytes(wanted.length)).toString("latin1"), wanted);
  } else if (line === "--- close") peer.close();
  else if (line === "--- silent") {
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(peer.rest, "");
  } else if (line === "--- gone") {
    await peer.gone();
    assert.equal(peer.rest, "");
  } else assert.fail(`Not a line of a dialogue: ${line}`);
}

function describe(receipt: Receipt): string {
  switch (receipt.kind) {
    case "unsendable":
      return `unsendable "${receipt.why}"`;
    case "lost": {
      const { trouble, unknown } = receipt;
      const code = trouble.reply === null ? "" : ` ${trouble.reply.code}`;
      const list = listOf(receipt.rejected ?? []);
      return `lost ${trouble.kind} "${trouble.why}"${code}${list}${unknown ? " unknown" : ""}`;
    }
    case "accepted":
    case "refused": {
      const { kind, reply, rejected } = receipt;
      const step = kind === "refused" ? ` ${receipt.step}` : "";
      const ended = kind === "refused" && receipt.ended ? " ended" : "";
      const text = JSON.stringify(reply.text);
      return `${kind}${step} ${reply.code} ${text}${listOf(rejected)}${ended}`;
    }
    default:
      return assertNever(receipt);
  }
}

function listOf(rejected: readonly RejectedRecipient[]): string {
  const list = rejected.map((one) => ` ${one.recipient} ${one.reply.code}`).join("");
  return list && ` rejected${list}`;
}

const parseText = (json: string): string => String(JSON.parse(json));
