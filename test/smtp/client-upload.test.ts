import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentJournal } from "../../src/core/events.ts";
import { newMessageId } from "../../src/core/message-id.ts";
import type { Content } from "../../src/core/store.ts";
import { nodeDisk } from "../../src/io/node-disk.ts";
import { ReadBuffers, Upload } from "../../src/smtp/client-upload.ts";
import { Transcript } from "../../src/smtp/transcript.ts";
import { openContent } from "../../src/spool/content.ts";
import { aMessage, testClient } from "../support/client-under-test.ts";
import { SmtpPeer } from "../support/smtp-peer.ts";

/** Content that is read into the reader's own buffers, so many bytes at a time. */
function readInto(text: string, step: number): Content {
  const bytes = Buffer.from(text, "latin1");
  return {
    size: bytes.length,
    async *bytes(room = () => Buffer.alloc(step)) {
      for (let at = 0; at < bytes.length; ) {
        const buffer = room().subarray(0, step);
        const count = bytes.copy(buffer, 0, at, at + buffer.length);
        at += count;
        yield buffer.subarray(0, count);
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** Lines that are all different, some with dots to double and bare line ends. */
function lines(count: number): string {
  const ends = ["\r\n", "\r\n", "\r\n.", "\n", "\r", "\r\n\r\n"];
  return Array.from({ length: count }, (_, n) => `line ${n}${ends[n % ends.length]}`).join("");
}

/** As it has to arrive, without the final dot. */
function wire(text: string): string {
  const whole = text.replace(/\r\n|\r|\n/g, "\r\n").replace(/(^|\r\n)\./g, "$1..");
  return whole.endsWith("\r\n") ? whole : `${whole}\r\n`;
}

/** Sends it to a peer that takes one write at a time, each a while after it was handed over. */
async function upload(content: Content, buffers: ReadBuffers): Promise<string> {
  const sent: string[] = [];
  let under = 0;
  let taken = Promise.resolve();
  const transcript = new Transcript(silentJournal, { address: "/", port: 0 });
  const write = (pieces: readonly Uint8Array[]): Promise<void> => {
    under += 1;
    assert.ok(under <= 2, "more than two chunks are under way");
    taken = taken.then(async () => {
      for (let turn = 0; turn < 3; turn += 1) await new Promise((next) => setImmediate(next));
      sent.push(Buffer.concat(pieces).toString("latin1"));
      under -= 1;
    });
    return taken;
  };
  const last = await new Upload({ content, transcript, buffers, write }).send("dot");
  await taken;
  sent.push(Buffer.concat(last?.pieces ?? []).toString("latin1"));
  return sent.join("");
}

test("Upload hands on content that lies in memory in parts that a slow peer can take in time", async () => {
  const text = "x\r\n".repeat(250_000);
  const content = readInto(text, text.length);
  const sizes: number[] = [];
  const transcript = new Transcript(silentJournal, { address: "/", port: 0 });
  const write = async (pieces: readonly Uint8Array[]): Promise<void> => {
    sizes.push(Buffer.concat(pieces).length);
  };
  const whole: Content = {
    ...content,
    bytes: () => content.bytes(() => Buffer.alloc(text.length)),
  };
  const options = { content: whole, transcript, buffers: new ReadBuffers(), write };
  const last = await new Upload(options).send("dot");
  sizes.push(Buffer.concat(last?.pieces ?? []).length);
  assert.deepEqual(
    sizes.map((size) => size <= 256 * 1024 + 3),
    [true, true, true],
  );
  assert.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    text.length + 3,
  );
});

async function staysWhole(count: number, step: number): Promise<void> {
  const buffers = new ReadBuffers();
  const text = lines(count);
  for (let message = 0; message < 2; message += 1) {
    assert.equal(await upload(readInto(text, step), buffers), `${wire(text)}.\r\n`);
  }
}

test("Upload never reads over what has not been sent yet", async () => {
  await staysWhole(80_000, 1_000_000);
});

test("Upload never reads over what has not been sent yet when reads are cut short", async () => {
  await staysWhole(80_000, 10_007);
});

test("Upload never reads over what has not been sent yet when a read brings a few bytes", async () => {
  await staysWhole(6000, 13);
});

test("large files arrive whole, one after the other, through buffers that are used again", async () => {
  const directory = mkdtempSync(join(tmpdir(), "relayd-upload-"));
  const texts = [lines(200_000), lines(90_000).replaceAll("line", "word")];
  const arrived: string[] = [];
  await using peer = await SmtpPeer.listen(async (connection) => {
    await connection.greet();
    for (const _ of texts) {
      arrived.push(await connection.message());
      connection.say("250 ok");
    }
    await connection.gone();
  });
  await using client = testClient({ detail: false });
  for (const [n, text] of texts.entries()) {
    const id = newMessageId(1, 2, n);
    writeFileSync(join(directory, `${id}.content`), text, "latin1");
    await using content = openContent(nodeDisk(directory), id);
    const receipt = await client.deliver(peer.address, aMessage, content);
    assert.equal(receipt.kind, "accepted");
  }
  rmSync(directory, { recursive: true });
  assert.deepEqual(
    arrived.map((one, at) => one === wire(texts[at] ?? "")),
    [true, true],
  );
});
