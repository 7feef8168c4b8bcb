import assert from "node:assert/strict";
import { once } from "node:events";
import { statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type FilterResult, failure, OK } from "../../src/filters/item.ts";
import { spamFilter } from "../../src/filters/spamd.ts";
import { type FilterMessage, filterMessage, termsWithin } from "../support/filter-message.ts";
import { deadAddress, LinePeer, type LinePeerConnection } from "../support/line-peer.ts";

const never = new AbortController().signal;
const MESSAGE = "Subject: test\r\n\r\nHello\r\n";

/** The content of a request that is as it must be. */
async function request(connection: LinePeerConnection): Promise<Buffer> {
  assert.equal(await connection.line(), "PROCESS SPAMC/1.4\r");
  const [, size = "none"] = /^Content-length: (\d+)\r$/.exec(await connection.line()) ?? [];
  assert.equal(await connection.line(), "\r");
  return await connection.bytes(Number(size));
}

const head = (length: number, spam = "False ; 0.0 / 5.0") =>
  `SPAMD/1.1 0 EX_OK\r\nContent-length: ${length}\r\nSpam: ${spam}\r\n\r\n`;
const answer = (body: string, spam?: string) => head(Buffer.byteLength(body), spam) + body;

interface Seen {
  readonly result: FilterResult;
  readonly message: FilterMessage;
}

/** Runs the filter against a spamd that takes the whole request, says this, and closes. */
async function judged(said: string, edit: "spam" | "spam-edit", content = MESSAGE): Promise<Seen> {
  return await against(edit, content, async (connection) => {
    await request(connection);
    connection.end(said);
  });
}

async function against(
  edit: "spam" | "spam-edit",
  content: string,
  script: (connection: LinePeerConnection) => Promise<void>,
  timeoutMs?: number,
): Promise<Seen> {
  await using peer = await LinePeer.listen(script);
  await using filter = spamFilter(peer.address, edit === "spam-edit", termsWithin(timeoutMs));
  const message = filterMessage(content);
  const result = await filter.run(message.job, never);
  return { result, message };
}

/** The message is as it was, and nothing lies beside it. */
function assertUntouched(message: FilterMessage, content = MESSAGE): void {
  assert.equal(message.content(), content);
  assert.deepEqual(message.names(), ["emailrelay.7.1.1.content"]);
  message[Symbol.dispose]();
}

async function assertFails(said: string, reason: string | RegExp): Promise<void> {
  const { result, message } = await judged(said, "spam-edit");
  assert.deepEqual([result.verdict, result.response, result.code], ["fail", "failed", 0]);
  assert.match(result.reason, typeof reason === "string" ? exactly(reason) : reason);
  assertUntouched(message);
}

const exactly = (text: string) => new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}$`);

test("spamFilter() sends PROCESS with the content as it is", async () => {
  const content = `Subject: x\r\n\r\n${"\0\xff\r\n".repeat(50_000)}`;
  let sent = "";
  const { result, message } = await against("spam", content, async (connection) => {
    sent = (await request(connection)).toString("latin1");
    connection.end(answer("judged"));
  });
  assert.deepEqual(result, OK);
  assert.ok(sent === content);
  assertUntouched(message, content);
});

test("spam: refuses spam with spamd's words for the operator", async () => {
  const { result, message } = await judged(answer("marked", "True ; 15.0 / 5.0"), "spam");
  assert.deepEqual(result, failure("rejected", "spam: True ; 15.0 / 5.0"));
  assertUntouched(message);
});

test("spam: understands True and Yes, False and No", async () => {
  for (const spam of ["True ; 5.0 / 5.0", "Yes ; 9 / 5", "true;9/5"]) {
    const { result, message } = await judged(answer("", spam), "spam");
    assert.equal(result.verdict, "fail", spam);
    assertUntouched(message);
  }
  for (const spam of ["False ; 5.0 / 15.0", "No ; 0 / 5", "false"]) {
    const { result, message } = await judged(answer("", spam), "spam");
    assert.deepEqual(result, OK, spam);
    assertUntouched(message);
  }
});

test("spam: is content with a head alone", async () => {
  const { result, message } = await judged(
    "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1 / 5\r\n\r\n",
    "spam",
  );
  assert.deepEqual(result, OK);
  assertUntouched(message);
});

test("spam: fails when the message that comes back breaks off", async () => {
  const { result, message } = await judged(`${head(100)}half`, "spam");
  assert.deepEqual(result, failure("failed", "peer disconnected"));
  assertUntouched(message);
});

test("spam-edit: puts spamd's edition in the place of the content, mode kept", async () => {
  const edition = `X-Spam: no\r\n${MESSAGE}`;
  const { result, message } = await judged(answer(edition), "spam-edit");
  assert.deepEqual(result, OK);
  assert.equal(message.mode(), 0o640);
  assertUntouched(message, edition);
});

test("spam-edit: refuses nothing for being spam", async () => {
  const edition = `X-Spam: yes\r\n${MESSAGE}`;
  const { result, message } = await judged(answer(edition, "True ; 99.0 / 5.0"), "spam-edit");
  assert.deepEqual(result, OK);
  assertUntouched(message, edition);
});

test("spam-edit: stores CR LF whatever line ends come back, cut wherever", async () => {
  const { result, message } = await against("spam-edit", MESSAGE, async (connection) => {
    await request(connection);
    connection.socket.setNoDelay(true);
    for (const byte of Buffer.from(answer("a\nb\r\n\rc\r\r\n\n\r"))) {
      connection.say(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    connection.end();
  });
  assert.deepEqual(result, OK);
  assertUntouched(message, "a\r\nb\r\n\r\nc\r\n\r\n\r\n\r\n");
});

test("spam-edit: ends the last line, and changes no other byte", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
  const body = Buffer.concat([bytes.subarray(0, 10), bytes.subarray(11, 13), bytes.subarray(14)]);
  const { result, message } = await against("spam-edit", MESSAGE, async (connection) => {
    await request(connection);
    connection.say(head(body.length));
    connection.end(body);
  });
  assert.deepEqual(result, OK);
  assertUntouched(message, `${body.toString("latin1")}\r\n`);
});

test("spam-edit: leaves the content alone unless the whole edition came", async () => {
  const edition = `X-Spam: no\r\n${MESSAGE}`;
  const length = edition.length;
  await assertFails(`${head(length + 1)}${edition}`, "peer disconnected");
  await assertFails(head(length), "peer disconnected");
  await assertFails(`${head(length - 1)}${edition}`, "spamd sent more than its Content-length");
  await assertFails(`${head(length)}${edition}x`, "spamd sent more than its Content-length");
});

test("spam-edit: believes no length that spamd goes beyond a moment later", async () => {
  const { result, message } = await against("spam-edit", MESSAGE, async (connection) => {
    await request(connection);
    connection.socket.setNoDelay(true);
    connection.say(`${head(5)}short`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    connection.end("ened");
  });
  assert.deepEqual(result, failure("failed", "spamd sent more than its Content-length"));
  assertUntouched(message);
});

test("spam-edit: takes a complete edition from a spamd that does not close", async () => {
  const edition = `X-Spam: no\r\n${MESSAGE}`;
  const { result, message } = await against("spam-edit", MESSAGE, async (connection) => {
    await request(connection);
    connection.say(answer(edition));
    await connection.gone();
  });
  assert.deepEqual(result, OK);
  assertUntouched(message, edition);
});

test("spam-edit: does not replace a message by nothing", async () => {
  await assertFails(answer(""), "spamd sent an empty message");
});

test("spamFilter() fails on what is not an answer of spamd's", async () => {
  const rest = `Content-length: 1\r\nSpam: False ; 0 / 5\r\n\r\nx`;
  const unknown = /^spamd answer not understood: /;
  await assertFails("", "peer disconnected");
  await assertFails("SPAMD/1.1 0 EX", "peer disconnected");
  await assertFails(`HTTP/1.1 200 OK\r\n${rest}`, unknown);
  await assertFails(`SPAMD/1.1 00x EX_OK\r\n${rest}`, unknown);
  await assertFails(`SPAMD/1.1 0EX_OK\r\n${rest}`, unknown);
  await assertFails(`\r\nSPAMD/1.1 0 EX_OK\r\n${rest}`, unknown);
  await assertFails(`SPAMD/1.1 0 EX_OK\r\nno colon\r\n${rest}`, unknown);
  await assertFails(`SPAMD/1.1 0 EX_OK\r\nContent-length: -1\r\n\r\nx`, unknown);
  await assertFails(`SPAMD/1.1 0 EX_OK\r\nContent-length: 0x1\r\n\r\nx`, unknown);
  await assertFails(`SPAMD/1.1 0 EX_OK\r\nSpam: Maybe\r\n${rest}`, /Maybe|twice/);
  await assertFails(`SPAMD/1.1 0 EX_OK\r\nContent-length: 2\r\n${rest}`, /twice/);
  await assertFails("SPAMD/1.1 0 EX_OK\r\n\r\nx", "spamd answer without Content-length");
  await assertFails("\0".repeat(9000), "spamd answer has an endless header");
});

test("spamFilter() tells what spamd complains about", async () => {
  await assertFails(
    "SPAMD/1.0 76 Bad header line: (Content-length)\r\n\r\n",
    "spamd error: SPAMD/1.0 76 Bad header line: (Content-length)",
  );
});

test("spamFilter() reads no more than 8 kB of a header that does not end", async () => {
  const line = Buffer.from(`X-Filler: ${"x".repeat(1000)}\r\n`);
  const { result, message } = await against("spam-edit", MESSAGE, async (connection) => {
    await request(connection);
    connection.say("SPAMD/1.1 0 EX_OK\r\n");
    const pour = (): void => {
      while (!connection.socket.destroyed && connection.socket.write(line));
    };
    connection.socket.on("drain", pour);
    pour();
    await connection.gone();
  });
  assert.deepEqual(result, failure("failed", "spamd answer has an endless header"));
  assertUntouched(message);
});

test("spamFilter() believes nothing that is said before the whole message was sent", async () => {
  const content = `Subject: x\r\n\r\n${"x".repeat(20_000_000)}\r\n`;
  const { result, message } = await against("spam-edit", content, async (connection) => {
    await connection.line();
    connection.socket.pause();
    connection.say(answer("forged\r\n"));
    await connection.gone();
  });
  assert.deepEqual(result, failure("failed", "spamd answered before it had the whole message"));
  assertUntouched(message, content);
});

test("spamFilter() fails with E-MailRelay's words when nobody answers", async () => {
  using message = filterMessage();
  const dead = await deadAddress();
  await using nobody = spamFilter(dead, true, termsWithin());
  assert.deepEqual(
    await nobody.run(message.job, never),
    failure("failed", `connect failure: cannot connect to ${dead}`),
  );

  await using resetting = await LinePeer.listen(async (connection) => {
    await connection.line();
    connection.reset();
  });
  await using reset = spamFilter(resetting.address, true, termsWithin());
  assert.deepEqual(await reset.run(message.job, never), failure("failed", "peer disconnected"));

  await using hanging = await LinePeer.listen(async (connection) => await connection.gone());
  await using waiting = spamFilter(hanging.address, true, termsWithin(100));
  assert.deepEqual(
    await waiting.run(message.job, never),
    failure(
      "failed",
      `response timeout: no response after 0.1s while connected to ${hanging.address}`,
    ),
  );
  assert.deepEqual(message.names(), ["emailrelay.7.1.1.content"]);
});

test("spamFilter() holds only a little of a large message in memory", async () => {
  const size = 200_000_000;
  let peak = 0;
  const measure = () => {
    peak = Math.max(peak, process.memoryUsage().arrayBuffers);
  };
  const line = Buffer.from(`${"x".repeat(65_534)}\r\n`);
  await using peer = await LinePeer.listen(async ({ socket }) => {
    let left = `PROCESS SPAMC/1.4\r\nContent-length: ${size}\r\n\r\n`.length + size;
    socket.removeAllListeners("data");
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      left -= chunk.length;
      measure();
      if (left === 0) break;
    }
    socket.write(head(line.length * 3000));
    for (let count = 0; count < 3000; count += 1) {
      if (!socket.write(line)) await once(socket, "drain");
      measure();
    }
    socket.end();
  });
  await using filter = spamFilter(peer.address, true, termsWithin(60_000));
  using message = filterMessage("");
  truncateSync(message.job.files.content, size);
  assert.deepEqual(await filter.run(message.job, never), OK);
  await peer.done();
  assert.equal(statSync(message.job.files.content).size, line.length * 3000);
  assert.ok(peak < 100_000_000, `${peak} bytes`);
});

test("spamFilter() limits the time for an answer as a whole", async () => {
  const { result, message } = await against(
    "spam-edit",
    MESSAGE,
    async (connection) => {
      await request(connection);
      connection.say(head(1_000_000));
      while (!connection.socket.destroyed) {
        connection.say("x");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    300,
  );
  assert.match(result.reason, /^response timeout: no response after 0\.3s while connected to 127/);
  assertUntouched(message);
});

test("spamFilter() reads no further ahead than spamd takes content, and gives up in time", async () => {
  const size = 200_000_000;
  let peak = 0;
  const measure = () => {
    peak = Math.max(peak, process.memoryUsage().arrayBuffers);
  };
  await using peer = await LinePeer.listen(async (connection) => {
    connection.socket.pause();
    await connection.gone();
  });
  await using filter = spamFilter(peer.address, true, termsWithin(700));
  using message = filterMessage("");
  truncateSync(message.job.files.content, size);
  const timer = setInterval(measure, 5);
  const before = process.memoryUsage().arrayBuffers;
  const { reason } = await filter.run(message.job, never);
  clearInterval(timer);
  assert.match(reason, /^response timeout: /);
  assert.ok(peak - before < 50_000_000, `${peak - before} bytes`);
  assert.deepEqual(message.names(), ["emailrelay.7.1.1.content"]);
});

test("spamFilter() rejects when it is aborted, and leaves nothing behind", async () => {
  const stop = new AbortController();
  await using peer = await LinePeer.listen(async (connection) => {
    await request(connection);
    connection.say(`${head(1000)}half`);
    setImmediate(() => stop.abort(new Error("enough")));
    await connection.gone();
  });
  await using filter = spamFilter(peer.address, true, termsWithin());
  const message = filterMessage();
  await assert.rejects(filter.run(message.job, stop.signal), /enough/);
  assertUntouched(message);
});

test("spamFilter() asks about each message over a connection of its own", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    await request(connection);
    connection.end(answer("x"));
  });
  await using filter = spamFilter(peer.address, false, termsWithin());
  using one = filterMessage();
  using two = filterMessage();
  assert.deepEqual(await filter.run(one.job, never), OK);
  assert.deepEqual(await filter.run(two.job, never), OK);
  assert.equal(peer.connections, 2);
});

test("spamFilter() fails for content that is missing, a link or a fifo", async () => {
  await using filter = spamFilter(await deadAddress(), true, termsWithin());
  using message = filterMessage();
  const { content } = message.job.files;
  await rm(content);
  assert.match((await filter.run(message.job, never)).reason, /^ENOENT/);
  writeFileSync(join(message.directory, "other"), "x");
  symlinkSync("other", content);
  assert.match((await filter.run(message.job, never)).reason, /^ELOOP/);
});

test("spam-edit: writes through no link that lies in its way", async () => {
  await using peer = await LinePeer.listen(async (connection) => {
    await request(connection);
    connection.end(answer("new\r\n"));
  });
  await using filter = spamFilter(peer.address, true, termsWithin());
  using message = filterMessage();
  const victim = join(message.directory, "victim");
  writeFileSync(victim, "precious");
  symlinkSync("victim", `${message.job.files.content}.spamd`);
  assert.deepEqual(await filter.run(message.job, never), OK);
  assert.equal(message.content(), "new\r\n");
  assert.equal(statSync(victim).size, "precious".length);
  assert.deepEqual(message.names(), ["emailrelay.7.1.1.content", "victim"]);
});

test("spamFilter() is named by its address and refuses what is none", () => {
  assert.equal(spamFilter("127.0.0.1:783", false, termsWithin()).id, "127.0.0.1/783/ip");
  assert.equal(spamFilter("/run/spamd.sock", true, termsWithin()).id, "/run/spamd.sock");
  assert.throws(() => spamFilter("783", false, termsWithin()), { code: "CONFIG_INVALID" });
});
