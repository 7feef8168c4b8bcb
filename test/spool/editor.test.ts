/** What built-in filters do to a message is undone when it fails, and stays within the spool. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RelayError } from "../../src/core/errors.ts";
import { systemClock } from "../../src/io/clock.ts";
import type { Disk, DiskFile } from "../../src/io/disk.ts";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import {
  benchOn,
  CONTENT,
  distributing,
  ENVELOPE,
  filesOf,
  has,
  ID,
  inMailbox,
  mailboxesWhole,
  prepare,
  prepending,
  rewriting,
  splitting,
  type Work,
} from "../support/editor-bench.ts";
import { tempSpool } from "../support/temp-spool.ts";

const adding: Work = async (editor, files) => {
  await editor.addMessage(files.content, ENVELOPE);
};

/** A disk that refuses one operation, by its number, and works again after that. */
function refusing(disk: CrashingDisk, which: number, code: string): Disk & { refused: boolean } {
  let count = 0;
  const state = { refused: false };
  const check = () => {
    if (count++ !== which) return;
    state.refused = true;
    throw Object.assign(new Error(`${code}: no luck, write`), { code, syscall: "write" });
  };
  const guarded = (file: DiskFile): DiskFile => ({
    ...file,
    append: (bytes) => {
      check();
      file.append(bytes);
    },
    appendLater: async (bytes) => {
      check();
      await file.appendLater(bytes);
    },
    sync: async () => {
      check();
      await file.sync();
    },
  });
  return {
    directory: disk.directory,
    get refused() {
      return state.refused;
    },
    create: (name) => {
      check();
      return guarded(disk.create(name));
    },
    open: (name) => guarded(disk.open(name)),
    stat: (name) => disk.stat(name),
    link: (path, name) => {
      check();
      disk.link(path, name);
    },
    makeDirectory: (name) => {
      check();
      disk.makeDirectory(name);
    },
    rename: (from, to) => {
      check();
      disk.rename(from, to);
    },
    remove: (name) => disk.remove(name),
    list: (folder) => disk.list(folder),
    listKinds: () => disk.listKinds(),
    syncDirectory: async (folder) => {
      check();
      await disk.syncDirectory(folder);
    },
  };
}

function picture(disk: CrashingDisk): Record<string, string> {
  const files = disk.names().filter((name) => disk.stat(name)?.kind === "file");
  return Object.fromEntries(files.map((name) => [name, disk.peek(name)?.toString() ?? ""]));
}

const MAX_OPERATIONS = 100;

/** How many operations can fail; each time everything has to be as it was before. */
async function failEverywhere(work: Work): Promise<number> {
  for (let which = 0; which < MAX_OPERATIONS; which++) {
    const disk = new CrashingDisk();
    await prepare(disk, "client");
    const before = picture(disk);
    const faulty = refusing(disk, which, "ENOSPC");
    const { editor, queued } = benchOn(faulty);
    const end = await work(editor, filesOf("client")).then(
      () => null,
      (error: unknown) => error,
    );
    if (!faulty.refused) return which;
    assert.ok(
      end instanceof RelayError && end.code === "SPOOL_FULL",
      `operation ${which}: ${String(end)}`,
    );
    assert.deepEqual(picture(disk), before, `operation ${which}`);
    assert.deepEqual(queued, []);
  }
  throw new Error("It never succeeds");
}

test("whatever fails with a full disk leaves the message as it was, and no copy of it", async () => {
  assert.ok((await failEverywhere(distributing("copy"))) >= 15);
  assert.ok((await failEverywhere(distributing("stay"))) >= 15);
  assert.ok((await failEverywhere(splitting)) >= 15);
  assert.ok((await failEverywhere(adding)) >= 4);
  assert.ok((await failEverywhere(prepending)) >= 4);
  assert.ok((await failEverywhere(rewriting)) >= 4);
});

test("distribute() and splitMessage() copy where there can be no hard link", async () => {
  for (const code of ["EXDEV", "EPERM", "EMLINK"]) {
    const disk = new CrashingDisk();
    await prepare(disk, "client");
    disk.link = () => {
      throw Object.assign(new Error(`${code}: no luck, link`), { code, syscall: "link" });
    };
    const { editor } = benchOn(disk);
    await splitting(editor, filesOf("client"));
    assert.ok(has(disk, "emailrelay.7.1.3.content", CONTENT), code);
    await distributing("link")(editor, filesOf("client"));
    assert.ok(has(disk, `alice/${ID}.content`, CONTENT), code);
  }
});

test("distribute() replaces what an interrupted delivery has left, also by a link to the same file", async () => {
  const disk = new CrashingDisk();
  await prepare(disk, "client");
  const left = disk.create(`alice/${ID}.envelope.tmp`);
  left.append(Buffer.from("half"));
  disk.link(filesOf("client").content, `alice/${ID}.content`);
  await distributing("link")(benchOn(disk).editor, filesOf("client"));
  assert.ok(mailboxesWhole(disk, inMailbox));
  assert.deepEqual(
    disk.names().filter((name) => name.endsWith(".tmp")),
    [],
  );
});

/** Messages of the same id that were delivered earlier: what is there under the name. */
function putEarlier(disk: CrashingDisk, files: Record<string, string | Buffer>): void {
  for (const [name, bytes] of Object.entries(files)) disk.create(name).append(Buffer.from(bytes));
}

test("distribute() gives a message another name where its own is another message's", async () => {
  for (const how of ["copy", "link"] as const) {
    const disk = new CrashingDisk();
    await prepare(disk, "client");
    const earlier = { [`alice/${ID}.content`]: "another", [`alice/${ID}.envelope`]: "its own" };
    const second = { [`alice/${ID}.2.content`]: "a third", [`alice/${ID}.2.envelope`]: "too" };
    putEarlier(disk, { ...earlier, ...second });
    await distributing(how)(benchOn(disk).editor, filesOf("client"));
    for (const [name, bytes] of Object.entries({ ...earlier, ...second })) {
      assert.ok(has(disk, name, bytes), `${how}: ${name}`);
    }
    assert.ok(has(disk, `alice/${ID}.3.content`, CONTENT), how);
    assert.ok(has(disk, `alice/${ID}.3.envelope`, encodeEnvelope(ENVELOPE, "")), how);
    assert.ok(has(disk, `bob/${ID}.content`, CONTENT), how);
  }
});

test("distribute() replaces the envelope of an earlier delivery of the same message", async () => {
  for (const how of ["copy", "stay"] as const) {
    const disk = new CrashingDisk();
    await prepare(disk, "client");
    const content: Record<string, string> =
      how === "copy" ? { [`alice/${ID}.content`]: CONTENT } : {};
    putEarlier(disk, { ...content, [`alice/${ID}.envelope`]: "as it was before an attempt" });
    await distributing(how)(benchOn(disk).editor, filesOf("client"));
    assert.ok(has(disk, `alice/${ID}.envelope`, encodeEnvelope(ENVELOPE, "").toString()));
    assert.deepEqual(
      disk.names().filter((name) => name.includes(`${ID}.2`)),
      [],
    );
  }
});

test("distribute() does not deliver the same message a second time", async () => {
  const disk = new CrashingDisk();
  await prepare(disk, "client");
  const envelope = encodeEnvelope(ENVELOPE, "");
  putEarlier(disk, { [`alice/${ID}.content`]: CONTENT, [`alice/${ID}.envelope`]: envelope });
  await distributing("copy")(benchOn(disk).editor, filesOf("client"));
  const inAlice = disk.names().filter((name) => name.startsWith("alice/"));
  assert.deepEqual(inAlice.sort(), [`alice/${ID}.content`, `alice/${ID}.envelope`]);
});

test("distribute() of envelopes fails where another message has the name, and replaces nothing", async () => {
  const disk = new CrashingDisk();
  await prepare(disk, "client");
  putEarlier(disk, { [`alice/${ID}.content`]: "another" });
  const before = picture(disk);
  await assert.rejects(distributing("stay")(benchOn(disk).editor, filesOf("client")), {
    code: "SPOOL_IO",
    message: `cannot deliver to "/memory/spool/alice": another message is named "${ID}" there`,
  });
  assert.deepEqual(picture(disk), before);
});

test("distribute() names no message in a maildir as one was named before a restart", async () => {
  const names = new Set<string>();
  for (let restarts = 0; restarts < 3; restarts++) {
    const disk = new CrashingDisk();
    await prepare(disk, "client");
    const { editor } = benchOn(disk, true, { ...systemClock, now: () => 1_700_000_000_000 });
    await distributing("copy")(editor, filesOf("client"));
    for (const name of disk.names()) if (name.startsWith("carl/new/")) names.add(name);
  }
  assert.equal(names.size, 3);
});

test("a store without syncs does the same without one", async () => {
  for (const work of [
    distributing("link"),
    distributing("copy"),
    splitting,
    prepending,
    rewriting,
  ]) {
    const disk = new CrashingDisk();
    await prepare(disk, "client");
    const before = disk.syncs.length;
    await work(benchOn(disk, false).editor, filesOf("client"));
    assert.equal(disk.syncs.length, before);
  }
});

test("an editor touches no file outside its spool", async () => {
  const { editor } = benchOn(new CrashingDisk());
  const refused = { code: "SPOOL_IO", message: /not a message of this spool/ };
  await assert.rejects(editor.readEnvelope("/etc/passwd"), refused);
  await assert.rejects(editor.prepend("/memory/spool/../content", Buffer.from("x")), refused);
});

test("recover() removes what an editor that was killed had begun to write", async () => {
  await using spool = await tempSpool();
  const dead = 4_194_303; // Above any process id that Linux gives by default.
  const parts = [".content.tmp", ".content.spamd", ".envelope.new.tmp"].map(
    (end) => `emailrelay.${dead}.1.1${end}`,
  );
  for (const name of [...parts, "mine.content.tmp"]) spool.put(name, "half");
  const now = () => systemClock.now() + 25 * 3_600_000;
  await spool.open({ clock: { ...systemClock, now } });
  assert.deepEqual(spool.names(), ["mine.content.tmp"]);
});
