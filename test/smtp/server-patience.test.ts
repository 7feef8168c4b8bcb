import assert from "node:assert/strict";
import { test } from "node:test";
import { RawClient } from "../support/raw-smtp-client.ts";
import { ManualClock, plainConfig, testListener } from "../support/smtp-listener.ts";

const chunking = { ...plainConfig.smtp, chunking: true };
const RECIPIENT = "MAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\n";

/** Reads so many replies. */
async function replies(client: RawClient, count: number): Promise<string> {
  const codes: string[] = [];
  while (codes.length < count) codes.push((await client.reply()).slice(0, 3));
  return codes.join(" ");
}

test("each message has its own time, also when it begins with the end of the last one", async () => {
  const clock = new ManualClock();
  await using listening = await testListener({ clock, config: { messageTimeoutMs: 10_000 } });
  await using client = await RawClient.connect(listening.address);
  client.send(`HELO x\r\n${RECIPIENT}DATA\r\n`);
  assert.equal(await replies(client, 5), "220 250 250 250 354");
  for (let message = 0; message < 3; message += 1) {
    await clock.advance(6);
    client.send(`x\r\n.\r\n${RECIPIENT}DATA\r\n`);
    assert.equal(await replies(client, 4), "250 250 250 354");
  }
  await clock.advance(11);
  assert.equal(await client.line(), "421 4.4.2 timed out");
});

test("a message that is given up for the next one takes none of its time", async () => {
  const clock = new ManualClock();
  const config = { messageTimeoutMs: 10_000, smtp: chunking };
  await using listening = await testListener({ clock, config });
  await using client = await RawClient.connect(listening.address);
  client.send(`HELO x\r\n${RECIPIENT}BDAT 1\r\nx`);
  assert.equal(await replies(client, 5), "220 250 250 250 250");
  await clock.advance(6);
  client.send(`RSET\r\n${RECIPIENT}BDAT 1\r\ny`);
  assert.equal(await replies(client, 4), "250 250 250 250");
  await clock.advance(6);
  assert.equal(await client.ask("BDAT 0 LAST"), "250 message processed");
});

test("a store that stalls is not the client's silence", async () => {
  const clock = new ManualClock();
  let go = (): void => undefined;
  const told = new Promise<void>((resolve) => {
    go = resolve;
  });
  let reading = (): void => undefined;
  const read = new Promise<void>((resolve) => {
    reading = resolve;
  });
  await using listening = await testListener({
    clock,
    config: { idleTimeoutMs: 5000 },
    async answer({ content }) {
      let pieces = 0;
      for await (const _ of content.chunks) {
        pieces += 1;
        // The first block is with the store, the second one is full.
        if (pieces === 1) await told;
        if (pieces === 2) reading();
      }
      return { code: 250, text: "message processed" };
    },
  });
  await using client = await RawClient.connect(listening.address);
  client.send(`HELO x\r\n${RECIPIENT}DATA\r\n`);
  assert.equal(await replies(client, 5), "220 250 250 250 354");
  const line = `${"x".repeat(98)}\r\n`;
  client.send(line.repeat(50_000));
  await clock.advance(200);
  assert.deepEqual(
    listening.events.filter(({ kind }) => kind === "session.closed"),
    [],
  );
  go();
  await read;
  // The time in which it had to wait does not count afterwards.
  await clock.advance(4);
  assert.equal(await client.ask("."), "250 message processed");
  await clock.advance(6);
  assert.equal(await client.line(), "421 4.4.2 timed out");
});
