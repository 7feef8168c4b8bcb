import assert from "node:assert/strict";
import { test } from "node:test";
import type { Submission } from "../../src/core/intake.ts";
import type { Reply } from "../../src/core/reply.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { gather, plainConfig, type TestListener, testListener } from "../support/smtp-listener.ts";

/** What a reception may have to hold before the client waits: one block of a large message. */
const BLOCK_BYTES = 256 * 1024;

/** A reception that reads nothing until it is told to. */
function heldReception() {
  let go = (): void => undefined;
  const told = new Promise<void>((resolve) => {
    go = resolve;
  });
  let content = "";
  return {
    read: () => go(),
    content: () => content,
    answer: async (submission: Submission): Promise<Reply> => {
      await told;
      content = await gather(submission);
      return { code: 250, text: "message processed" };
    },
  };
}

/** As many turns of the event loop as a server needs that takes everything. */
async function letItWork(listening: TestListener, turns: number): Promise<void> {
  await using other = await RawClient.connect(listening.address);
  await other.reply();
  for (let turn = 0; turn < turns; turn += 1) await other.ask("NOOP");
}

/** No Received line: what is stored is what was sent. */
const config = {
  smtp: { ...plainConfig.smtp, chunking: true },
  anonymous: { ...plainConfig.anonymous, content: true },
};

async function chunksBegin(listening: TestListener): Promise<RawClient> {
  const client = await RawClient.connect(listening.address);
  await client.reply();
  await client.ask("EHLO x");
  await client.ask("MAIL FROM:<a@b>");
  await client.ask("RCPT TO:<r@x>");
  return client;
}

/** Counts the replies that have come. */
function countReplies(client: RawClient): () => number {
  let count = 0;
  client.socket.on("data", (bytes: Buffer) => {
    count += bytes.toString("latin1").split("\r\n").length - 1;
  });
  return () => count;
}

test("BDAT: a client that sends faster than the store takes has to wait", async () => {
  const held = heldReception();
  await using listening = await testListener({ config, answer: held.answer });
  await using client = await chunksBegin(listening);
  const replies = countReplies(client);
  const chunk = "x".repeat(BLOCK_BYTES / 16);
  const sending = (async () => {
    for (let n = 0; n < 256; n += 1) {
      client.send(`BDAT ${chunk.length}\r\n${chunk}`);
      assert.equal(await client.line(), `250 ${chunk.length} bytes received`);
    }
  })();
  await letItWork(listening, 1000);
  assert.equal(replies(), 16);
  held.read();
  await sending;
  assert.equal(await client.ask("BDAT 0 LAST"), "250 message processed");
  assert.equal(held.content(), chunk.repeat(256));
});

test("BDAT: so has one that sends byte by byte, and what it has sent is answered", async () => {
  const held = heldReception();
  await using listening = await testListener({ config, answer: held.answer });
  await using client = await chunksBegin(listening);
  const replies = countReplies(client);
  const most = BLOCK_BYTES - 10;
  client.send(`BDAT ${most}\r\n${"x".repeat(most)}`);
  client.send(`${"BDAT 1\r\ny".repeat(1000)}BDAT 0 LAST\r\n`);
  await letItWork(listening, 100);
  assert.equal(replies(), 11);
  held.read();
  for (let n = 0; n < 1001; n += 1) assert.match(await client.line(), /^250 \d+ bytes received$/);
  assert.equal(await client.line(), "250 message processed");
  assert.equal(held.content(), `${"x".repeat(most)}${"y".repeat(1000)}`);
});

test("BDAT: a message that becomes too large when there is no room is given up, and nothing waits for it", async () => {
  const held = heldReception();
  const limited = { ...config, maxSizeBytes: BLOCK_BYTES };
  await using listening = await testListener({ config: limited, answer: held.answer });
  await using client = await chunksBegin(listening);
  client.send(`BDAT ${BLOCK_BYTES + 1}\r\n${"x".repeat(BLOCK_BYTES - 1)}`);
  await letItWork(listening, 100);
  client.send("yzRSET\r\n");
  assert.match(await client.line(), /^552 /);
  assert.equal(await client.line(), "250 state reset");
  held.read();
});
