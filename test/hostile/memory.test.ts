/** Memory of the real program while 2,000 clients do nothing and 100 MB go in and out. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { RawClient } from "../support/raw-smtp-client.ts";
import { sendMail, TestRelay } from "../support/relayd.ts";

const CLIENTS = 2000;
const SIZE = 100 * 2 ** 20;
const LIMIT_MB = 200;

/** Lines of all kinds, dots at their starts included. */
const block = Buffer.from(`${"x".repeat(900)}\r\n..dot\r\n${"y".repeat(70)}\r\n`.repeat(64));

/** The most that the program has had in memory at any time, in MB. */
function peakOf(pid: number | undefined): number {
  const [, kilobytes = ""] =
    /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) / 1024;
}

/** A smarthost that only counts: resolves to the bytes of content of the first large message. */
async function countingSmarthost(): Promise<{ port: number; received: Promise<number> }> {
  let tell: (bytes: number) => void = () => undefined;
  const received = new Promise<number>((resolve) => {
    tell = resolve;
  });
  const server = createServer((socket) => {
    let bytes = -1;
    let tail = "";
    socket.write("220 hi\r\n");
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      tail = (tail + chunk.toString("latin1", Math.max(0, chunk.length - 5))).slice(-5);
      if (bytes < 0) {
        const data = chunk.toString("latin1");
        if (data.startsWith("DATA")) bytes = 0;
        socket.write(data.startsWith("DATA") ? "354 go\r\n" : "250 ok\r\n");
        return;
      }
      bytes += chunk.length;
      if (tail !== "\r\n.\r\n") return;
      socket.write("250 queued\r\n");
      // A small one may come first, over a connection of its own.
      if (bytes > SIZE) tell(bytes);
      bytes = -1;
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => server.close());
  const address = server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0, received };
}

async function sendLarge(port: number): Promise<string> {
  await using client = await RawClient.connect(`127.0.0.1:${port}`);
  client.send("EHLO big\r\nMAIL FROM:<a@b>\r\nRCPT TO:<r@x>\r\nDATA\r\n");
  for (let n = 0; n < 5; n += 1) await client.reply();
  for (let sent = 0; sent < SIZE; sent += block.length) {
    if (!client.socket.write(block)) await once(client.socket, "drain");
  }
  return await client.ask(".");
}

/** Descriptors that a process may have. */
const [, descriptors = "0"] =
  /Max open files\s+\S+\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
const skip = Number(descriptors) < CLIENTS + 200 ? `only ${descriptors} descriptors` : false;

test(`${CLIENTS} idle clients, 100 MB in and 100 MB out stay below ${LIMIT_MB} MB, and others are served`, {
  skip,
}, async (context) => {
  const smarthost = await countingSmarthost();
  const relay = await TestRelay.start([
    ...[
      `--forward-to=127.0.0.1:${smarthost.port}`,
      "--poll=1",
      "--max-connections=3000",
      "--no-sync",
    ],
  ]);
  const idle: RawClient[] = [];
  for (let n = 0; n < CLIENTS; n += 100) {
    const some = Array.from(
      { length: 100 },
      async () => await RawClient.connect(`127.0.0.1:${relay.port}`),
    );
    idle.push(...(await Promise.all(some)));
  }
  for (const client of idle) assert.match(await client.reply(), /^220 /);
  assert.equal(await sendLarge(relay.port), "250 message processed");
  const first = smarthost.received;
  // The first goes out while the second comes in, and somebody else says a few words.
  const second = sendLarge(relay.port);
  const started = performance.now();
  assert.equal(await sendMail(relay.port), "250 message processed");
  context.diagnostic(`somebody else was served in ${(performance.now() - started).toFixed(0)} ms`);
  assert.ok((await first) > SIZE, "all of the first one went out");
  assert.equal(await second, "250 message processed");
  const peak = peakOf(relay.child.pid);
  context.diagnostic(`peak ${peak.toFixed(0)} MB`);
  assert.ok(peak < LIMIT_MB, `peak ${peak} MB`);
  assert.equal(await idle[0]?.ask("NOOP"), "250 noop");
  for (const client of idle) client.destroy();
});
