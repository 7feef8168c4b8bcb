/** Content of messages that a process was removing when it was killed: its envelope had gone, its content had not. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs, {
  mkdirSync,
  readdirSync,
  type Stats,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import { systemProcesses } from "../../src/spool/process-table.ts";
import { RemovalMark } from "../../src/spool/removal-mark.ts";
import { storeMessage } from "../support/messages.ts";
import type { Part } from "../support/store-program.ts";
import { type TempSpool, tempSpool } from "../support/temp-spool.ts";

const NO_SUCH_PID = 4_000_000_000;
/** Made by a process that runs, and has nothing to do with this spool. */
const ID = `emailrelay.${process.ppid}.1.1`;
const WRITTEN_MS = Date.now() - 60_000;

const holderPath = (spool: TempSpool, name: string): string =>
  join(spool.directory, ".relayd", "holders", name);

const HOLDER = `${NO_SUCH_PID}.5`;

/** A dead holder with this behind its record. */
function putHolder(spool: TempSpool, note: string): void {
  const record = { ...systemProcesses().home, since: WRITTEN_MS - 60_000, leases: null };
  mkdirSync(join(spool.directory, ".relayd", "holders"), { recursive: true });
  writeFileSync(holderPath(spool, HOLDER), `${JSON.stringify(record)}  \n${note}   \n`);
}

const removing = ({ ino }: Stats, atMs: number) => `${ID} ${ino} ${Math.floor(atMs)}`;

function putContent(spool: TempSpool): Stats {
  spool.put(`${ID}.content`, "x");
  utimesSync(join(spool.directory, `${ID}.content`), WRITTEN_MS / 1000, WRITTEN_MS / 1000);
  return statSync(join(spool.directory, `${ID}.content`));
}

/** A process that takes and removes what waits, and is killed before it removes any content; resolves when it is. */
async function killedBeforeContent(spool: TempSpool): Promise<void> {
  const program = join(import.meta.dirname, "../support/store-program.js");
  const part: Part = "forward-half";
  const child = spawn(process.execPath, [program, part, spool.directory], { stdio: "inherit" });
  const [, signal] = (await once(child, "exit")) as [number | null, string | null];
  assert.equal(signal, "SIGKILL");
}

test("content of a message that a killed process was removing goes at once, although its maker lives", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const stored = await storeMessage(store, "x");
  await killedBeforeContent(spool);
  assert.deepEqual(spool.names(), [`${stored}.content`]);
  assert.equal(readdirSync(join(spool.directory, ".relayd", "holders")).length, 2);
  assert.deepEqual(await store.recover(), [{ id: stored, action: "removed half-written content" }]);
  assert.deepEqual(spool.names(), []);
  assert.equal(readdirSync(join(spool.directory, ".relayd", "holders")).length, 1);
});

test("content that was written after another message of that name was removed stays", async () => {
  await using spool = await tempSpool();
  const content = putContent(spool);
  const store = await spool.open();
  const others = { ...content, ino: content.ino + 1 } as Stats;
  for (const note of [
    removing(content, WRITTEN_MS - 1),
    removing(others, WRITTEN_MS + 1),
    removing(content, Date.now() + 60_000),
  ]) {
    putHolder(spool, note);
    await store.recover();
    assert.deepEqual(spool.names(), [`${ID}.content`]);
  }
  putHolder(spool, removing(content, WRITTEN_MS + 1));
  await store.recover();
  assert.deepEqual(spool.names(), []);
});

for (const ending of [".envelope", ".envelope.bad", ".envelope.hold", ".envelope.busy"]) {
  test(`a message that was to be removed and still has its ${ending} keeps its content`, async () => {
    await using spool = await tempSpool();
    const content = putContent(spool);
    spool.put(`${ID}${ending}`, "x");
    putHolder(spool, removing(content, WRITTEN_MS + 1));
    await spool.open();
    assert.ok(spool.names().includes(`${ID}.content`));
  });
}

test("content in the spool whose envelope is in a mailbox stays, whatever was to be removed", async () => {
  await using spool = await tempSpool();
  const content = putContent(spool);
  mkdirSync(join(spool.directory, "alice"));
  writeFileSync(join(spool.directory, "alice", `${ID}.envelope`), "x");
  putHolder(spool, removing(content, WRITTEN_MS + 1));
  await spool.open();
  assert.ok(spool.names().includes(`${ID}.content`));
});

for (const [what, line] of [
  ["no time", () => ID],
  ["another message", (inode: number) => `${ID}1 ${inode} ${WRITTEN_MS + 1}`],
  ["more than that", (inode: number) => `${ID} ${inode} ${WRITTEN_MS + 1} x`],
] as const) {
  test(`a holder's record with ${what} behind it is one, and nothing is removed`, async () => {
    await using spool = await tempSpool();
    putHolder(spool, line(putContent(spool).ino));
    await spool.open();
    assert.deepEqual(spool.names(), [`${ID}.content`]);
    assert.ok(!readdirSync(join(spool.directory, ".relayd", "holders")).includes(HOLDER));
  });
}

test("each note of a removal is written over the one before, behind the record", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const first = await storeMessage(store, "x");
  const second = await storeMessage(store, "x");
  const [name = ""] = readdirSync(join(spool.directory, ".relayd", "holders"));
  const said = () => spool.read(join(".relayd", "holders", name)).toString();
  const remove = async (id: MessageId) => {
    await using lease = await store.lease(id);
    await lease?.complete();
  };
  await remove(first);
  const before = said();
  assert.match(before, new RegExp(`^{.*} *\\n${first} \\d+ \\d{13} *\\n$`));
  await remove(second);
  assert.equal(said().length, before.length);
  assert.match(said(), new RegExp(`^{.*} *\\n${second} \\d+ \\d{13} *\\n$`));
});

/** Closes what it is told to, and says that it could not. */
function closingFails(): Disposable {
  const { closeSync } = fs;
  fs.closeSync = (fd) => {
    closeSync(fd);
    throw new Error("EIO");
  };
  syncBuiltinESMExports();
  return {
    [Symbol.dispose]() {
      fs.closeSync = closeSync;
      syncBuiltinESMExports();
    },
  };
}

test("a mark that cannot be written or closed says nothing, and writes into no other file", async () => {
  await using spool = await tempSpool();
  for (const name of ["holder", "other"]) spool.put(name, "");
  const path = (name: string) => join(spool.directory, name);
  const mark = new RemovalMark();
  const write = () => mark.write({ id: ID as MessageId, inode: 1, atMs: 2 }, path("holder"), 0);
  write();
  {
    using _ = closingFails();
    mark.close();
  }
  const other = fs.openSync(path("other"), "r+");
  write();
  mark.close();
  fs.closeSync(other);
  assert.equal(spool.read("other").toString(), "");
  assert.match(spool.read("holder").toString(), new RegExp(`^${ID} 1 2 *\\n$`));
  mark.write({ id: ID as MessageId, inode: 1, atMs: 2 }, path("missing"), 0);
  write();
  assert.ok(!spool.names().includes("missing"));
});
