/** What `relayd-submit --copy` finds in the sub-directories stays there. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { copyEnvelope } from "../../src/submit/copy-envelope.ts";
import { anEnvelope } from "../support/messages.ts";
import { tempSpool } from "../support/temp-spool.ts";

test("copyEnvelope() replaces no other message of the same name, and keeps the message in the spool", async () => {
  for (const end of ["content", "envelope"]) {
    await using spool = await tempSpool();
    const store = await spool.open();
    await using draft = await store.create();
    await draft.write(Buffer.from("Subject: x\r\n\r\nx\r\n"));
    await draft.seal(anEnvelope);
    const folder = join(spool.directory, "ann");
    mkdirSync(folder);
    writeFileSync(join(folder, `${draft.id}.${end}`), "another message");
    const { copied, failures } = await copyEnvelope(draft.files(), draft.id);
    assert.equal(copied, 0);
    assert.deepEqual(failures, [`"${folder}": another message has the same name`]);
    assert.deepEqual(readdirSync(folder), [`${draft.id}.${end}`]);
    assert.equal(readFileSync(join(folder, `${draft.id}.${end}`), "utf8"), "another message");
    assert.deepEqual(readdirSync(spool.directory).includes(`${draft.id}.envelope.new`), true);
  }
});
