/** FileStore where the disk is full, gone or read-only. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { silentJournal } from "../../src/core/events.ts";
import { systemClock } from "../../src/io/clock.ts";
import { openFileStore } from "../../src/spool/file-store.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import { disks, openOn } from "../support/journal-bench.ts";
import { anEnvelope, storeMessage } from "../support/messages.ts";
import { shortClock } from "../support/short-clock.ts";
import { tempSpool } from "../support/temp-spool.ts";

const isRoot = process.getuid?.() === 0;

test("openFileStore() says why a directory is no spool", async () => {
  await using spool = await tempSpool();
  const missing = join(spool.directory, "none");
  await assert.rejects(spool.open({ directory: missing }), {
    code: "SPOOL_INVALID",
    message: `invalid spool directory: ${missing}: no such file or directory`,
  });
  const file = join(spool.directory, "file");
  writeFileSync(file, "");
  await assert.rejects(spool.open({ directory: file }), {
    code: "SPOOL_INVALID",
    message: `invalid spool directory: ${file}: not a directory`,
  });
});

test("a spool that vanishes is SPOOL_IO, and service resumes when it is back", async () => {
  await using spool = await tempSpool();
  const store = await spool.open({ watch: true });
  renameSync(spool.directory, `${spool.directory}.away`);
  await assert.rejects(storeMessage(store, "x"), { code: "SPOOL_IO", message: /cannot create/ });
  await assert.rejects(store.ready(), { code: "SPOOL_IO", message: /no such file or directory/ });
  await store.recover();
  mkdirSync(spool.directory);
  const stored = await storeMessage(store, "x");
  assert.deepEqual(await store.ready(), [stored]);
  rmSync(`${spool.directory}.away`, { recursive: true });
});

test("a message is not accepted into another spool than the one that has its content", async () => {
  await using spool = await tempSpool();
  const store = await spool.open({ watch: true });
  const large = Buffer.alloc(300 * 1024, "x");
  for (const [before, after] of [
    ["an empty one", () => undefined],
    ["one that has such a name", (name: string) => spool.put(name, "y")],
  ] as const) {
    await using draft = await store.create();
    for (let n = 0; n < 2; n++) await draft.write(large);
    renameSync(spool.directory, `${spool.directory}.away`);
    mkdirSync(spool.directory);
    after(`${draft.id}.content`);
    await draft.seal(anEnvelope);
    await assert.rejects(draft.commit(), { code: "SPOOL_IO", message: /moved away/ }, before);
    assert.deepEqual(
      readdirSync(spool.directory).filter((name) => name.includes("envelope")),
      [],
    );
    rmSync(`${spool.directory}.away`, { recursive: true });
  }
});

for (const [what, commits] of [
  ["synced by themselves", undefined],
  ["of a busy spool", { demand: 0, segmentBytes: 64 * 4096 }],
] as const) {
  test(`a slow client's message is not accepted into another spool than the one that has its content: ${what}`, async () => {
    await using spool = await tempSpool();
    const time = { ms: 0 };
    const clock = { ...systemClock, monotonic: () => time.ms };
    const store = await spool.open({ clock, ...(commits === undefined ? {} : { commits }) });
    for (let n = 0; n < 3; n++) {
      await storeMessage(store, "x");
      await setTimeout(20);
    }
    await using draft = await store.create();
    await draft.write(Buffer.from("x"));
    const there = `${spool.directory}/${draft.id}.content`;
    renameSync(there, `${there}.away`);
    time.ms = 101;
    await draft.seal(anEnvelope);
    await assert.rejects(draft.commit(), { code: "SPOOL_IO", message: /moved away/ });
    assert.deepEqual(
      spool.names().filter((name) => name.startsWith(`${draft.id}.envelope`)),
      [],
    );
  });
}

test("no message that came at once is looked for before its commit, and each that took its time is", async () => {
  const memory = new CrashingDisk();
  const time = { ms: 0 };
  const clock = { ...shortClock, monotonic: () => time.ms };
  const looks: string[] = [];
  const stat = (name: string) => {
    looks.push(name);
    return memory.stat(name);
  };
  const store = await openOn({ ...disks(memory), stat }, {}, { clock });
  const looksOf = async (ms: number) => {
    await using draft = await store.create();
    looks.length = 0;
    time.ms += ms;
    await draft.write(Buffer.from("x"));
    await draft.seal(anEnvelope);
    await draft.commit();
    return looks.filter((name) => name === `${draft.id}.content`).length;
  };
  assert.equal(await looksOf(100), 0);
  assert.equal(await looksOf(101), 1);
});

test("a lease that ended while the spool was away is back in the queue with it", async () => {
  await using spool = await tempSpool();
  const store = await spool.open();
  const stored = await storeMessage(store, "x");
  const lease = await store.lease(stored);
  renameSync(spool.directory, `${spool.directory}.away`);
  await lease?.[Symbol.asyncDispose]();
  renameSync(`${spool.directory}.away`, spool.directory);
  assert.deepEqual(await store.ready(), [stored]);
});

/** A file system of 64 kB; null with the reason when it cannot be had. */
function tinyDisk(): { directory: string; release: () => void } | string {
  if (!isRoot) return "needs root to mount a tiny file system";
  const directory = mkdtempSync(join(tmpdir(), "relayd-tiny-"));
  const options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", directory];
  const mounted = spawnSync("mount", options, { stdio: "ignore" });
  const release = () => {
    if (mounted.status === 0) spawnSync("umount", ["-l", directory]);
    rmSync(directory, { recursive: true, force: true });
  };
  if (mounted.status === 0) return { directory, release };
  release();
  return "cannot mount a tiny file system here";
}

test("a full disk is SPOOL_FULL, nothing is left of the message, and the next small one fits", async (t) => {
  const disk = tinyDisk();
  if (typeof disk === "string") return t.skip(disk);
  t.after(disk.release);
  const options = { directory: disk.directory, sync: true, shared: false, recover: false };
  const store = await openFileStore({ ...options, journal: silentJournal, clock: systemClock });
  for (const bytes of [70_000, 400_000]) {
    await assert.rejects(storeMessage(store, Buffer.alloc(bytes)), {
      code: "SPOOL_FULL",
      message: /no space left on device/,
    });
    assert.deepEqual(readdirSync(disk.directory), []);
  }
  await storeMessage(store, "fits");
  await store.close();
});

test("fail() on a full disk still sets the message aside, and says that the reason is missing", async (t) => {
  const disk = tinyDisk();
  if (typeof disk === "string") return t.skip(disk);
  t.after(disk.release);
  const warnings: string[] = [];
  const store = await openFileStore({
    directory: disk.directory,
    sync: true,
    shared: false,
    recover: false,
    journal: {
      detail: false,
      tell: (event) => {
        if (event.kind === "note" && event.level === "warning") warnings.push(event.text);
      },
    },
    clock: systemClock,
  });
  const stored = await storeMessage(store, "x");
  const envelope = readFileSync(join(disk.directory, `${stored}.envelope`));
  await using lease = await store.lease(stored);
  fillUp(disk.directory);
  await lease?.fail({ text: "no", code: 550, recipients: anEnvelope.toRemote });
  assert.ok(readFileSync(join(disk.directory, `${stored}.envelope.bad`)).equals(envelope));
  assert.match(warnings.join("\n"), /cannot write failure reason/);
  await store.close();
});

function fillUp(directory: string): void {
  for (const size of [4096, 1]) {
    for (let n = 0; n < 1000; n++) {
      try {
        writeFileSync(join(directory, `fill.${size}.${n}`), Buffer.alloc(size));
      } catch {
        break;
      }
    }
  }
}

test("a spool that may not be written to is a warning at the start and SPOOL_IO afterwards", {
  skip: isRoot ? false : "needs root to become somebody else",
}, async () => {
  await using spool = await tempSpool();
  chmodSync(spool.directory, 0o755);
  const program = join(import.meta.dirname, "../support/store-program.js");
  const run = spawnSync(process.execPath, [program, "store-as-nobody", spool.directory], {
    encoding: "utf8",
  });
  assert.equal(run.stderr, "");
  assert.deepEqual(run.stdout.trim().split("\n"), [
    `warning directory not writable: "${spool.directory}"`,
    "SPOOL_IO",
  ]);
});
