import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { cannotTrace } from "../support/injected.ts";
import { RawClient } from "../support/raw-smtp-client.ts";
import { temporary } from "../support/relayd.ts";
import { TracedRelay, traceable } from "../support/traced.ts";

const skip = await cannotTrace();

/** Sends messages with these keys in one session; resolves to the client's port. */
async function send(
  relay: TracedRelay,
  keys: readonly string[],
  how: { chunks?: boolean; lines?: number } = {},
): Promise<number> {
  await using client = await RawClient.connect(`127.0.0.1:${relay.port}`);
  const port = client.socket.localPort ?? 0;
  await client.reply();
  await client.ask("EHLO x");
  for (const key of keys) {
    const content = traceable(key, how.lines);
    await client.ask("MAIL FROM:<a@b.c>");
    await client.ask(`RCPT TO:<${key}@example.net>`);
    if (how.chunks !== true) {
      await client.ask("DATA");
      assert.match(await client.ask(`${content}.`), /^250 /);
      continue;
    }
    client.send(`BDAT 20\r\n${content.slice(0, 20)}`);
    await client.reply();
    client.send(`BDAT ${content.length - 20} LAST\r\n${content.slice(20)}`);
    assert.match(await client.reply(), /^250 /);
  }
  await client.ask("QUIT");
  return port;
}

test("250 comes after everything is synced, for messages one by one and at the same time", {
  skip,
}, async () => {
  const relay = await TracedRelay.start("--server-smtp-config=pipelining,chunking");
  const keys = new Map<number, readonly string[]>();
  const sessions = Array.from({ length: 10 }, async (_, n) => {
    const own = [`one${n}`, `two${n}`, `three${n}`];
    keys.set(await send(relay, own, { chunks: n % 2 === 1 }), own);
  });
  await Promise.all(sessions);
  await relay.assertDurable(keys);
});

test("250 comes after everything is synced, for large messages in pieces", { skip }, async () => {
  const relay = await TracedRelay.start("--server-smtp-config=pipelining,chunking");
  const keys = new Map<number, readonly string[]>();
  keys.set(await send(relay, ["big"], { lines: 15_000 }), ["big"]);
  keys.set(await send(relay, ["chunks"], { lines: 15_000, chunks: true }), ["chunks"]);
  await relay.assertDurable(keys);
});

test("250 comes after what a filter has put in the place of the content is synced", {
  skip,
}, async () => {
  const filter = join(temporary(), "filter");
  const edit = 'sed "s/^X-Key: /X-Filtered: yes\\nX-Key: /" "$1" >"$1.tmp" && mv "$1.tmp" "$1"';
  writeFileSync(filter, `#!/bin/sh\n${edit}\n`, { mode: 0o755 });
  const relay = await TracedRelay.start(`--filter=${filter}`);
  await relay.assertDurable(new Map([[await send(relay, ["a", "b"]), ["a", "b"]]]));
});

test("250 comes after everything is synced with --immediate too", { skip }, async () => {
  const smarthost = await openCatcher();
  const relay = await TracedRelay.start(`--forward-to=${smarthost.address}`, "--immediate");
  await relay.assertDurable(new Map([[await send(relay, ["a", "b"]), ["a", "b"]]]));
});

test("the check of the order fails when nothing is synced", { skip }, async () => {
  const relay = await TracedRelay.start("--no-sync");
  const keys = new Map([[await send(relay, ["a"]), ["a"]]]);
  await assert.rejects(relay.assertDurable(keys), /250 before/);
});
