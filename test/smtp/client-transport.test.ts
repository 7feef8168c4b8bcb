import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { RelayError } from "../../src/core/errors.ts";
import type { Content } from "../../src/core/store.ts";
import { aMessage, contentOf, testClient } from "../support/client-under-test.ts";
import { type PeerConnection, SmtpPeer, takesOne } from "../support/smtp-peer.ts";

const quiet = new AbortController().signal;
const envelope = { ...emptyEnvelope, ...aMessage };

async function refusesData(connection: PeerConnection, ...reply: string[]): Promise<void> {
  await connection.greet();
  await connection.answer(/^MAIL/, "250 ok");
  await connection.answer(/^RCPT/, "250 ok");
  await connection.answer(/^DATA/, "354 go");
  await connection.line();
  connection.say(...reply);
}

const aLot = (): Content =>
  contentOf(...Array.from({ length: 200 }, () => Buffer.from(`${"x".repeat(65_534)}\r\n`)));

test("a 250 before the content has been sent is no delivery", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await refusesData(connection, "250 queued");
    connection.stall();
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
  await using client = testClient();
  const receipt = await client.deliver(peer.address, aMessage, aLot());
  assert.deepEqual(receipt, {
    kind: "lost",
    trouble: {
      kind: "connection",
      connected: true,
      why: "smtp error: unexpected response: queued",
      reply: { code: 250, text: "queued" },
    },
    unknown: false,
  });
});

test("a 421 while the content is being sent leaves the message in the queue", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await refusesData(connection, "421 shutting down");
    connection.stall();
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
  await using client = testClient();
  const receipt = await client.deliver(peer.address, aMessage, aLot());
  assert.equal(receipt.kind === "lost" && receipt.trouble.reply?.code, 421);
});

test("a permanent refusal while the content is being sent is a refusal of the content", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await refusesData(connection, "552 too big");
    connection.stall();
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
  await using client = testClient();
  const receipt = await client.deliver(peer.address, aMessage, aLot());
  assert.deepEqual(receipt, {
    kind: "refused",
    step: "content",
    reply: { code: 552, text: "too big" },
    rejected: [],
    ended: true,
  });
});

test("every further message on a connection names it in the log", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    for (let count = 0; count < 2; count += 1) {
      await connection.message();
      connection.say("250 ok");
    }
    await connection.gone();
  });
  await using client = testClient();
  const named = (): number =>
    client.log.filter((line) => line === `info: smtp connection to ${peer.address}`).length;
  await client.deliver(peer.address, aMessage);
  assert.equal(named(), 0, "the first is named when it is connected");
  await client.deliver(peer.address, aMessage);
  assert.equal(named(), 1);
});

test("content in many chunks arrives whole", async () => {
  const content = aLot();
  let size = 0;
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    size = (await connection.message()).length;
    connection.say("250 ok");
    await connection.gone();
  });
  await using client = testClient();
  const receipt = await client.deliver(peer.address, aMessage, content);
  assert.equal(receipt?.kind, "accepted");
  assert.equal(size, content.size);
});

test("BDAT chunks are at most 1000000 bytes, each awaited", async () => {
  const bytes = Buffer.alloc(2_000_001, "\n");
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("CHUNKING", "BINARYMIME");
    await connection.answer(/^MAIL/, "250 ok");
    await connection.answer(/^RCPT/, "250 ok");
    await connection.expect("BDAT 1000000");
    await connection.bytes(1_000_000);
    assert.equal(connection.rest, "");
    connection.say("250 more");
    await connection.expect("BDAT 1000000");
    await connection.bytes(1_000_000);
    connection.say("250 more");
    await connection.expect("BDAT 1 LAST");
    await connection.bytes(1);
    connection.say("250 done");
    await connection.gone();
  });
  await using client = testClient();
  const content = contentOf(bytes.subarray(0, 999_999), bytes.subarray(999_999));
  const receipt = await client.deliver(peer.address, { ...aMessage, body: "binarymime" }, content);
  assert.deepEqual(receipt, { kind: "accepted", reply: { code: 250, text: "done" }, rejected: [] });
  await client.transport.quit();
  await peer.done();
});

test("a refused BDAT chunk ends the message and not the session", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet("CHUNKING", "BINARYMIME");
    await connection.answer(/^MAIL/, "250 ok");
    await connection.answer(/^RCPT/, "250 ok");
    await connection.expect("BDAT 1000000");
    await connection.bytes(1_000_000);
    connection.say("552 too big");
    await connection.answer("RSET", "250 ok");
    await connection.answer("QUIT", "221 bye");
  });
  await using client = testClient();
  const content = contentOf(Buffer.alloc(1_500_000));
  const receipt = await client.deliver(peer.address, { ...aMessage, body: "binarymime" }, content);
  assert.equal(receipt.kind === "refused" && receipt.step, "content");
  await client.transport.quit();
  await peer.done();
});

const broken = (): Content => ({
  ...contentOf("Subject: x\r\n\r\nhalf"),
  bytes: async function* () {
    yield Buffer.from("Subject: x\r\n\r\nhalf");
    throw new RelayError("SPOOL_IO", "x", "Cannot read it");
  },
});

test("content that cannot be read is never completed, and the error comes out as it is", async () => {
  let rest = "";
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.answer(/^MAIL/, "250 ok");
    await connection.answer(/^RCPT/, "250 ok");
    await connection.answer(/^DATA/, "354 go");
    await connection.gone();
    rest = connection.rest;
  });
  await using client = testClient();
  await assert.rejects(client.deliver(peer.address, aMessage, broken()), { code: "SPOOL_IO" });
  await peer.done();
  assert.doesNotMatch(rest, /\r\n\.\r\n/);
  const receipt = await client.transport.send(envelope, contentOf("x"), quiet);
  assert.equal(receipt?.kind, "lost");
});

test("content shorter or longer than its size is never completed", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await assert.rejects(connection.message());
  });
  await using client = testClient();
  for (const size of [4, 6]) {
    const content = { ...contentOf("12345"), size };
    await assert.rejects(client.deliver(peer.address, aMessage, content), { code: "SPOOL_IO" });
  }
  await peer.done();
});

test("lenient options send the message all the same and warn once", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.answer("MAIL FROM:<ä@b>", "550 no");
    await connection.answer("MAIL FROM:<ä@b>", "550 no");
  });
  const smtp = {
    pipelining: false,
    smtputf8strict: false,
    eightbitstrict: false,
    binarymimestrict: false,
    linger: true,
  };
  await using client = testClient({ config: { smtp } });
  const message = { from: "ä@b", toRemote: ["c@d"], utf8Mailboxes: true };
  await client.deliver(peer.address, message);
  await client.deliver(peer.address, message);
  await peer.done();
  const warnings = client.log.filter((line) => line.startsWith("warning"));
  assert.deepEqual(warnings, ["warning: cannot send utf8 message to non-smtputf8 server"]);
});

test("the log shows the dialogue with the content as a number of lines", async () => {
  await using peer = await SmtpPeer.listen(async (connection) => {
    await takesOne(connection);
    await connection.gone();
  });
  await using client = testClient();
  await client.deliver(peer.address, aMessage, contentOf("a: b\r\n\r\nc\r\nd\r\n"));
  assert.deepEqual(client.log.slice(-7), [
    "tx: RCPT TO:<c@d>",
    "rx: 250 ok",
    "tx: DATA",
    "rx: 354 go on",
    "tx: [4 line(s) of content]",
    "tx: .",
    "rx: 250 ok",
  ]);
});

test("a journal without detail is told no traffic", async () => {
  await using peer = await SmtpPeer.listen(takesOne);
  await using client = testClient({ detail: false });
  await client.deliver(peer.address, aMessage);
  assert.deepEqual(client.log, []);
});

test("content is read no faster than the smarthost takes it", async () => {
  let read = 0;
  let go = (): void => undefined;
  const stalled = new Promise<void>((resolve) => {
    go = resolve;
  });
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    await connection.answer(/^MAIL/, "250 ok");
    await connection.answer(/^RCPT/, "250 ok");
    await connection.answer(/^DATA/, "354 go");
    connection.stall();
    await stalled;
  });
  await using client = testClient({ config: { responseTimeoutMs: 300 } });
  const chunk = Buffer.alloc(65_536, "x");
  const content: Content = {
    ...contentOf(),
    size: 1e9,
    bytes: () =>
      Readable.from(
        (function* () {
          for (; read < 1e9; read += chunk.length) yield chunk;
        })(),
        { highWaterMark: 1 },
      ),
  };
  const receipt = await client.deliver(peer.address, aMessage, content);
  go();
  assert.equal(receipt?.kind, "lost");
  assert.ok(read < 50_000_000, `read ${read} bytes`);
});
