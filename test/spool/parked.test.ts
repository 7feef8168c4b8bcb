/** Envelopes that an operator has parked under names of his own. */
import assert from "node:assert/strict";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../../src/io/clock.ts";
import { encodeNote } from "../../src/spool/journal-files.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import { closing, engaged, JOURNAL, openOn, TEXT } from "../support/journal-bench.ts";
import { storeMessage } from "../support/messages.ts";
import { putMessage } from "../support/spool-files.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

/** Nobody of this process id lives, and a day has passed. */
const ID = "emailrelay.4000000000.1.1";
const inTwoDays = { ...systemClock, now: () => Date.now() + 48 * 3_600_000 };

function park(spool: TempSpool, suffix: string): string[] {
  putMessage(spool.directory, ID);
  const parked = `${ID}.envelope${suffix}`;
  renameSync(join(spool.directory, `${ID}.envelope`), join(spool.directory, parked));
  return [`${ID}.content`, parked];
}

for (const suffix of [".hold", ".busy.old", "-2026", "~", ".new.hold"]) {
  test(`the content of an envelope that is parked as ".envelope${suffix}" stays`, async () => {
    await using spool = await tempSpool();
    const parked = park(spool, suffix);
    await spool.open({ clock: inTwoDays });
    assert.deepEqual(spool.names(), parked);
  });
}

for (const suffix of [".new", ".new.tmp", ".busy.tmp", ".tmp"]) {
  test(`".envelope${suffix}" is no envelope: the content beside it goes`, async () => {
    await using spool = await tempSpool();
    park(spool, suffix);
    await spool.open({ clock: inTwoDays });
    assert.ok(!spool.names().includes(`${ID}.content`));
  });
}

test("the content of an envelope that is parked in a mailbox stays", async () => {
  await using spool = await tempSpool();
  spool.put(`${ID}.content`, "x");
  mkdirSync(join(spool.directory, "alice"));
  writeFileSync(join(spool.directory, "alice", `${ID}.envelope.hold`), "x");
  await spool.open({ clock: inTwoDays });
  assert.deepEqual(spool.names(), ["alice", `${ID}.content`]);
});

for (const suffix of [".hold", ".busy.old", ".bad.old"]) {
  test(`a replay leaves the content of ".envelope${suffix}" alone, whatever was noted before the kill`, async () => {
    const before = new CrashingDisk();
    const first = await engaged(before);
    const parked = await storeMessage(first, TEXT);
    const removed = await storeMessage(first, TEXT);
    const left = before.killed();
    const [notes = ""] = left.list(JOURNAL).filter((name) => name.endsWith(".removed"));
    const file = left.journaling.openToAppend(`${JOURNAL}/${notes}`);
    for (const id of [parked, removed]) file.append(encodeNote(id, "removed"));
    left.rename(`${parked}.envelope`, `${parked}.envelope${suffix}`);
    await using _ = await closing(openOn(left, { pid: 8 }));
    assert.equal(left.peek(`${parked}.content`)?.toString(), TEXT);
    assert.deepEqual(
      left.names().filter((name) => name.startsWith(removed)),
      [],
    );
    assert.deepEqual(left.list(JOURNAL), []);
  });
}
