import assert from "node:assert/strict";
import { test } from "node:test";
import { giveBack } from "../../src/io/give-back.ts";
import { BlockShelf } from "../../src/smtp/block-shelf.ts";
import { ContentQueue } from "../../src/smtp/content-queue.ts";
import { IncomingMessage } from "../../src/smtp/incoming.ts";
import { LineReader } from "../../src/smtp/line.ts";

const BLOCK = 256 * 1024;
const block = Buffer.alloc(BLOCK, "x");
const ignore = () => undefined;

/** Bytes that are different everywhere. */
function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

test("ContentQueue passes everything on in order, in whole blocks, whatever the pieces were", async () => {
  const all = pattern(3 * BLOCK + 12345);
  const queue = new ContentQueue(ignore);
  let at = 0;
  for (let size = 1; at < all.length; size = (size * 3) % 100_003) {
    queue.push(all.subarray(at, at + size));
    at += size;
  }
  queue.end();
  const got: Buffer[] = [];
  for await (const piece of queue) got.push(Buffer.from(piece));
  assert.deepEqual(
    got.map(({ length }) => length),
    [BLOCK, BLOCK, BLOCK, 12345],
  );
  assert.ok(Buffer.concat(got).equals(all));
});

test("ContentQueue answers a reader that waits when a block is full, and at the end", async () => {
  const queue = new ContentQueue(ignore);
  const first = queue.next();
  queue.push(block.subarray(1));
  queue.push(Buffer.from("yz"));
  const { value } = await first;
  assert.equal(value?.length, BLOCK);
  assert.equal(value?.at(-1), "y".charCodeAt(0));
  const last = queue.next();
  queue.end();
  assert.equal(Buffer.from((await last).value ?? []).toString(), "z");
  assert.equal((await queue.next()).done, true);
});

test("ContentQueue makes the client wait while a block is full that the reader has not got", async () => {
  let room = 0;
  const queue = new ContentQueue(() => {
    room += 1;
  });
  assert.equal(queue.push(block.subarray(1)), true);
  assert.equal(queue.push(block), false);
  await queue.next();
  assert.equal(room, 1);
  assert.equal(queue.push(Buffer.from("y")), false);
  await queue.next();
  assert.equal(room, 2);
});

test("ContentQueue leaves the reader what it has when the client goes away, and then fails", async () => {
  const queue = new ContentQueue(ignore);
  queue.push(block);
  queue.push(block);
  const { value } = await queue.next();
  queue.fail(new Error("gone"));
  assert.ok(value !== undefined && block.equals(value));
  await assert.rejects(async () => await queue.next(), /gone/);
});

test("ContentQueue throws away what its reader does not want", async () => {
  let room = 0;
  const queue = new ContentQueue(() => {
    room += 1;
  });
  queue.push(block);
  queue.push(block);
  for await (const _ of queue) break;
  assert.equal(room, 1);
  assert.equal(queue.push(block), true);
  assert.equal(queue.push(block), true);
  assert.equal((await queue.next()).done, true);
});

test("ContentQueue uses the blocks of one message again for the next", async () => {
  const used: ArrayBufferLike[] = [];
  for (let message = 0; message < 2; message += 1) {
    const queue = new ContentQueue(ignore);
    queue.push(block);
    queue.end();
    for await (const { buffer } of queue) used.push(buffer);
  }
  assert.equal(used.length, 2);
  assert.equal(used[0], used[1]);
});

test("ContentQueue gives no other message what its reader still has", async () => {
  for (const going of ["fail", "end"] as const) {
    const queue = new ContentQueue(ignore);
    for (let count = 0; count < 3; count += 1) queue.push(block);
    const { value } = await queue.next();
    queue[going](new Error("gone"));
    const others = Array.from({ length: 20 }, () => new ContentQueue(ignore));
    for (const other of others) other.push(Buffer.alloc(BLOCK, "y"));
    assert.ok(value !== undefined && block.equals(value));
    await queue.return();
    for (const other of others) await other.return();
  }
});

test("BlockShelf keeps so many blocks and gives the rest back", () => {
  const shelf = new BlockShelf(64 * 1024, 2);
  const blocks = [shelf.take(), shelf.take(), shelf.take()];
  for (const one of blocks) shelf.putBack(one);
  assert.deepEqual(
    blocks.map(({ length }) => length),
    [64 * 1024, 64 * 1024, 0],
  );
  assert.ok(blocks.includes(shelf.take()));
});

test("giveBack() empties what is large, and leaves alone what may be a part of something else", () => {
  const large = Buffer.allocUnsafeSlow(64 * 1024);
  const small = Buffer.from("small");
  const part = Buffer.allocUnsafeSlow(64 * 1024)
    .fill("x")
    .subarray(1);
  const pool = Buffer.from(Buffer.from("pool").buffer);
  for (const one of [large, small, part, pool]) giveBack(one);
  assert.equal(large.length, 0);
  assert.equal(small.toString(), "small");
  assert.equal(part.at(-1), 0x78);
  assert.notEqual(pool.length, 0);
});

test("a large message gives back what it came in, parts of one buffer too, unless more is to be read there", async () => {
  for (const alone of [true, false]) {
    const bytes = Buffer.allocUnsafeSlow(70 * 1024).fill("x");
    const message = new IncomingMessage("Received: x\r\n", { maxSizeBytes: 0, maxHops: 0 });
    for (const part of [bytes.subarray(0, 1000), bytes.subarray(2000)]) message.push(part);
    assert.equal(message.isLarge, true);
    message.stream(() => undefined, alone);
    assert.equal(bytes.length, alone ? 0 : 70 * 1024);
    message.end(null);
    let size = 0;
    for await (const chunk of message.chunks) size += chunk.length;
    assert.equal(size, 13 + 69 * 1024 + 24);
  }
});

test("LineReader gives back only what has been read to its end", () => {
  const input = new LineReader(100);
  const bytes = Buffer.allocUnsafeSlow(64 * 1024).fill("NOOP\r\n");
  input.push(bytes);
  input.advance(6);
  input.giveBack();
  assert.equal(input.line()?.toString(), "NOOP");
  input.advance(input.pending);
  input.giveBack();
  assert.equal(bytes.length, 0);
  assert.equal(input.pending, 0);
  input.push(Buffer.from("QUIT\r\n"));
  assert.equal(input.line()?.toString(), "QUIT");
});
