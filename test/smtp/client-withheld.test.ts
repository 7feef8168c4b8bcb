/** The end of the content that the smarthost has certainly not got, for it took no more of it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { TlsOptions } from "node:tls";
import type { ClientConfig } from "../../src/core/config.ts";
import type { Receipt } from "../../src/core/transport.ts";
import { Dialogue } from "../../src/smtp/client-dialogue.ts";
import type { Conversation } from "../../src/smtp/client-protocol.ts";
import { aMessage, contentOf, testClient, tlsDefaults } from "../support/client-under-test.ts";
import { type PeerConnection, SmtpPeer } from "../support/smtp-peer.ts";
import { makeTestCa } from "../support/test-ca.ts";

const SIZE = 1_000_000;

/** What becomes of a message in one chunk, at whose beginning the smarthost stops to read and does this. */
async function chunk(
  then: (peer: PeerConnection) => void | Promise<void>,
  config: Partial<ClientConfig> = {},
  implicit?: TlsOptions,
): Promise<Receipt> {
  const directory = mkdtempSync(join(tmpdir(), "relayd-withheld-"));
  try {
    // A unix socket holds a fifth of the chunk at the most: the end of it stays with the client.
    const path = join(directory, "peer");
    await using peer = await SmtpPeer.listen(
      async (connection) => {
        await connection.greet("CHUNKING", "BINARYMIME");
        await connection.answer(/^MAIL/, "250 ok");
        await connection.answer(/^RCPT/, "250 ok");
        await connection.expect(`BDAT ${SIZE} LAST`);
        connection.stall();
        await then(connection);
      },
      { path, ...(implicit === undefined ? {} : { implicit }) },
    );
    await using client = testClient({ config });
    const message = { ...aMessage, body: "binarymime" as const };
    return await client.deliver(peer.address, message, contentOf(Buffer.alloc(SIZE)));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const TOO_BIG = { code: 552, text: "too big" };

test("a chunk that is refused before its end has left is a refused message", async () => {
  const receipt = await chunk((peer) => peer.say("552 too big"));
  assert.deepEqual(receipt, {
    kind: "refused",
    step: "content",
    reply: TOO_BIG,
    rejected: [],
    ended: true,
  });
});

test("a refusal is heard though the connection ends with it", async () => {
  const receipt = await chunk((peer) => {
    peer.say("552 too big");
    peer.close();
  });
  assert.deepEqual(receipt.kind === "refused" && receipt.reply, TOO_BIG);
});

test("a temporary refusal before the end has left leaves no doubt that the message was not taken", async () => {
  const receipt = await chunk((peer) => peer.say("452 disk full"));
  assert.ok(receipt.kind === "lost");
  assert.deepEqual([receipt.trouble.reply?.code, receipt.unknown], [452, false]);
});

test("a connection that is closed before the end has left has not taken the message", async () => {
  const receipt = await chunk((peer) => peer.close());
  assert.ok(receipt.kind === "lost");
  assert.deepEqual([receipt.trouble.why, receipt.unknown], ["peer disconnected", false]);
});

test("a host that stops before the end has left, until the response time-out, has not taken the message", async () => {
  const receipt = await chunk(async (peer) => await peer.gone(), { responseTimeoutMs: 100 });
  assert.ok(receipt.kind === "lost");
  assert.deepEqual(
    [receipt.trouble.why, receipt.unknown],
    ["smtp error: response timeout after 0.1s", false],
  );
});

test("where the content is encrypted nobody knows for certain whether its end has left", async () => {
  using ca = makeTestCa();
  const { key, certificate } = ca.issue("mail.test");
  const implicit = { key: readFileSync(key), cert: readFileSync(certificate) };
  const tls = { ...tlsDefaults, mode: "implicit" as const };
  const receipt = await chunk((peer) => peer.say("552 too big"), { tls }, implicit);
  assert.ok(receipt.kind === "lost");
  assert.deepEqual([receipt.trouble.reply, receipt.unknown], [TOO_BIG, true]);
});

test("a reply that comes together with the end of the connection is heard", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "relayd-withheld-")), "peer");
  const server = createServer((peer) => peer.pause()).listen(path);
  const socket = connect(path);
  await once(socket, "connect");
  const peer = { address: path, port: 0 };
  const journal = { detail: false, tell: () => undefined };
  const dialogue = new Dialogue(socket, { peer, journal, responseMs: 0 });
  const heard: unknown[] = [];
  const conversation: Conversation = {
    start: () => ({ kind: "content", framing: "chunk" }),
    reply: () => ({ kind: "done", close: true }),
    lost: ({ reply }, ended) => heard.push(reply, ended),
  };
  const content = contentOf(Buffer.alloc(SIZE));
  const { signal } = new AbortController();
  const held = dialogue.hold(conversation, { content, budgetMs: 0, overdue: "", signal });
  while (socket.writableLength === 0) await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  socket.emit("data", Buffer.from("552 too big\r\n"));
  socket.emit("end");
  await held;
  server.close();
  rmSync(dirname(path), { recursive: true });
  assert.deepEqual(heard, [TOO_BIG, false]);
});
