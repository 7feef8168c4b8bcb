import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FailingRelay } from "../support/failing-relay.ts";
import { cannotTrace } from "../support/injected.ts";
import { MailPump, randomFrom } from "../support/mail-pump.ts";
import { fingerprint } from "../support/recording-smarthost.ts";
import { TestRelay, temporarySpool, until } from "../support/relayd.ts";

/** Faults of the journal of commits, which a busy spool uses. */
const skip = await cannotTrace();

/** Keys and hashes of the messages that are there. */
function kept(spool: string): Map<string, string> {
  const envelopes = readdirSync(spool).filter((name) => name.endsWith(".envelope"));
  return new Map(
    envelopes.map((name) => {
      const content = readFileSync(join(spool, name.replace(/envelope$/, "content")));
      const { key, hash } = fingerprint(content);
      return [key, hash];
    }),
  );
}

/** Nothing else syncs data alone: these are syncs of the journal, from the second of each thread on. */
for (const error of ["EIO", "ENOSPC", "EROFS"]) {
  test(`sync of the journal fails (${error}): no 250 without a message, and service resumes`, {
    skip,
  }, async () => {
    const relay = await FailingRelay.start(["-e", `inject=fdatasync:error=${error}:when=2+`]);
    const pump = new MailPump(relay.port, { prefix: "j", sessions: 8, random: randomFrom(1) });
    await until(() => relay.log.includes("cannot store message"));
    const before = pump.accepted.size;
    await until(() => pump.accepted.size > before + 20);
    await pump.stop();
    const there = kept(relay.spool);
    for (const key of pump.accepted) assert.equal(there.get(key), pump.sent.get(key), key);
    assert.equal(there.size, pump.accepted.size, "what was refused is gone");
    await relay.end();
  });
}

test("the journal cannot be made: each message is synced by itself", async () => {
  const spool = temporarySpool();
  mkdirSync(join(spool, ".relayd"));
  writeFileSync(join(spool, ".relayd", "journal"), "in the way");
  const relay = await TestRelay.start(["--server-smtp-config=pipelining,chunking"], { spool });
  const pump = new MailPump(relay.port, { prefix: "j", sessions: 8, random: randomFrom(1) });
  await until(() => pump.accepted.size > 150);
  await pump.stop();
  const there = kept(spool);
  for (const key of pump.accepted) assert.equal(there.get(key), pump.sent.get(key), key);
  assert.equal(pump.sent.size, pump.accepted.size);
  assert.equal(await relay.end(), 0);
});
