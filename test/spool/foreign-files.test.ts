/** Files of other kinds in the place of those that processes tell each other with. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { parseMessageId } from "../../src/core/message-id.ts";
import { nodeJournaling } from "../../src/io/journaling.ts";
import { encodeHead } from "../../src/spool/journal-format.ts";
import { systemProcesses } from "../../src/spool/process-table.ts";
import { putMessage } from "../support/spool-files.ts";
import type { Part } from "../support/store-program.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

const ID = "emailrelay.1.1.1";
const NOTES = ".relayd/journal/01234567-1-1.0.removed";
const ELSEWHERE = { host: "another", boot: "another", namespace: "pid:[1]", since: 0 };

function folder(spool: TempSpool, name: string): string {
  const path = join(spool.directory, name);
  mkdirSync(path, { recursive: true });
  return path;
}

/** What another process says that forwards everything; one that waits for ever is killed. */
function forwardAll(spool: TempSpool): string {
  const program = join(import.meta.dirname, "../support/store-program.js");
  const part: Part = "forward-all";
  const { stdout } = spawnSync(process.execPath, [program, part, spool.directory], {
    ...{ encoding: "utf8", timeout: 20_000, killSignal: "SIGKILL" },
  });
  return stdout;
}

test("a fifo among the holders keeps nobody waiting", async () => {
  await using spool = await tempSpool();
  putMessage(spool.directory, ID);
  execFileSync("mkfifo", [join(folder(spool, ".relayd/holders"), "1.1")]);
  assert.equal(forwardAll(spool), `${ID}\n`);
});

test("a link to what a living holder has written is no holder", async () => {
  await using spool = await tempSpool();
  putMessage(spool.directory, ID);
  spool.put(`${ID}.envelope.busy`, spool.read(`${ID}.envelope`));
  rmSync(join(spool.directory, `${ID}.envelope`));
  spool.put("elsewhere", JSON.stringify(ELSEWHERE));
  symlinkSync("../../elsewhere", join(folder(spool, ".relayd/holders"), "1.1"));
  const store = await spool.open();
  assert.deepEqual(await store.ready(), [ID]);
});

test("a holder does not write where a link leads that was put in the place of its file", async () => {
  await using spool = await tempSpool();
  spool.put("elsewhere", "not to be touched");
  const store = await spool.open();
  const holders = folder(spool, ".relayd/holders");
  const [own] = readdirSync(holders);
  assert.ok(own !== undefined);
  rmSync(join(holders, own));
  symlinkSync("../../elsewhere", join(holders, own));
  const id = parseMessageId(ID);
  assert.ok(id !== null);
  assert.equal(await store.lease(id), null);
  assert.equal(spool.read("elsewhere").toString(), "not to be touched");
  assert.match(spool.warnings().join(), /cannot register in/);
});

test("a fifo among the notes of journals keeps nobody waiting who removes a message", async () => {
  await using spool = await tempSpool();
  putMessage(spool.directory, ID);
  folder(spool, ".relayd/journal");
  execFileSync("mkfifo", [join(spool.directory, NOTES)]);
  assert.equal(forwardAll(spool), `${ID}\n`);
});

test("a link among the notes of journals is passed over, and the other notes are written", async () => {
  await using spool = await tempSpool();
  putMessage(spool.directory, ID);
  const journals = folder(spool, ".relayd/journal");
  spool.put("elsewhere", "");
  symlinkSync("../../elsewhere", join(spool.directory, NOTES));
  const beside = [2, 3].map((n) => join(journals, `01234567-${n}-1.0.removed`));
  for (const path of beside) writeFileSync(path, "");
  const store = await spool.open({ recover: false });
  const [id] = await store.ready();
  assert.ok(id !== undefined);
  {
    await using lease = await store.lease(id);
    await lease?.complete();
  }
  assert.deepEqual(spool.warnings(), []);
  assert.equal(spool.read("elsewhere").length, 0);
  for (const path of beside) assert.match(readFileSync(path, "latin1"), new RegExp(ID));
});

test("nothing is noted where the folder of the journals leads elsewhere", async () => {
  await using spool = await tempSpool();
  putMessage(spool.directory, ID);
  const elsewhere = folder(spool, "elsewhere");
  const notes = join(elsewhere, "01234567-1-1.0.removed");
  writeFileSync(notes, "");
  folder(spool, ".relayd");
  symlinkSync("../elsewhere", join(spool.directory, ".relayd/journal"));
  assert.equal(forwardAll(spool), `${ID}\n`);
  assert.equal(readFileSync(notes).length, 0);
});

test("openToAppend() does not wait for the other end of a fifo", async () => {
  await using spool = await tempSpool();
  execFileSync("mkfifo", [join(spool.directory, "notes")]);
  assert.throws(() => nodeJournaling(spool.directory).openToAppend("notes"), { code: "ENXIO" });
});

test("a file named like a journal's, and larger than any, is named once and left alone, and mail goes on", async () => {
  await using spool = await tempSpool();
  putMessage(spool.directory, ID);
  const journals = folder(spool, ".relayd/journal");
  const large = ["01234567-1-1.0.a", "01234567-2-1.0.removed"].map((name) => join(journals, name));
  for (const path of large) writeFileSync(path, "");
  for (const path of large) truncateSync(path, 6 * 2 ** 30);
  // Notes are read when there is a segment.
  const head = { ...ELSEWHERE, device: 1, inode: 1, generation: "0123456789abcdef" };
  const segment = join(journals, "01234567-2-1.0.a");
  writeFileSync(segment, encodeHead({ ...head, state: "free" }));
  const crashed = { ...systemProcesses().home, since: Date.now() - 5000 };
  writeFileSync(join(folder(spool, ".relayd/holders"), "4000000.5"), JSON.stringify(crashed));
  const alone = join(spool.directory, "emailrelay.4000000.1.9.content");
  writeFileSync(alone, "");
  const store = await spool.open();
  await store.replay();
  await store.recover();
  assert.ok(existsSync(alone), "its envelope may be in there");
  assert.deepEqual(await store.ready(), [ID]);
  const texts = large.map((path) => `ignoring "${path}": larger than any journal of relayd`);
  assert.deepEqual(spool.warnings().sort(), texts);
  const left = large.map((path) => basename(path));
  assert.deepEqual(readdirSync(journals).sort(), left);
});
