/** Power cuts before every operation of a spool that commits through its journal, and the proof that every sync is needed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import {
  AFTERWARDS,
  accept,
  complete,
  contentOf,
  engage,
  forwardOne,
  HUGE,
  HUGE_SCENARIOS,
  judge,
  judgeOne,
  newStory,
  openOn,
  play,
  processesOf,
  SCENARIOS,
  violations,
} from "../support/journal-story.ts";
import { allBytes, anEnvelope } from "../support/messages.ts";
import { shortClock } from "../support/short-clock.ts";

test("no power cut loses or tears a message of which the journal has only the envelope", async (t) => {
  for (const [name, scenario] of Object.entries(HUGE_SCENARIOS)) {
    for (const afterwards of Object.values(AFTERWARDS)) {
      const { found, cuts } = await violations(scenario, { syncsNames: true }, afterwards);
      t.diagnostic(`${name}: ${cuts} cuts`);
      assert.deepEqual(found.slice(0, 10), [], name);
    }
    // Where POSIX is all that is known, it is synced by itself, with the directory.
    const { found } = await violations(scenario);
    assert.deepEqual(found.slice(0, 10), [], `${name}, without names`);
  }
});

test("no power cut loses a large message with which the journal comes into use again", async () => {
  const disk = new CrashingDisk({ syncsNames: true });
  const story = newStory();
  const time = { ms: 0 };
  const demand = 2;
  const clock = { ...shortClock, monotonic: () => time.ms };
  const store = await openOn(disk, processesOf("1"), { demand, clock });
  for (const n of [0, 1, 2]) await accept(store, story, n);
  for (let turn = 0; turn < 30; turn++) await new Promise(setImmediate);
  time.ms = 5000;
  for (const n of [3, 4]) await accept(store, story, n);
  const before = disk.syncs.length;
  await accept(store, story, HUGE);
  assert.match(disk.syncs.slice(before).join(), new RegExp(`${story.begun.get(HUGE)}.content`));
  for (const survivor of disk.survivors()) {
    await openOn(survivor, processesOf("2"));
    assert.deepEqual(judge(survivor, story), []);
  }
  // And one that comes after it has only its envelope there.
  const next = disk.syncs.length;
  await accept(store, story, HUGE);
  assert.equal(disk.syncs.length - next, 2, disk.syncs.slice(next).join());
});

test("a kill loses nothing that the journal has, and nothing that was delivered comes back", async () => {
  for (const [name, scenario] of Object.entries({ ...SCENARIOS, ...HUGE_SCENARIOS })) {
    for (let steps = 0; ; steps++) {
      const disk = new CrashingDisk({ steps, syncsNames: true });
      const story = newStory();
      const ended = await play(scenario, disk, story);
      const left = disk.killed();
      const hasEnvelope = (n: number) =>
        left.names().some((one) => one.startsWith(`${story.begun.get(n)}.envelope`));
      const gone = [...story.removing].filter((n) => !hasEnvelope(n));
      await openOn(left, processesOf("1", 8));
      assert.deepEqual(judge(left, story), [], `${name}, before ${steps}`);
      const back = gone.filter(hasEnvelope);
      assert.deepEqual(back, [], `${name}, before ${steps}: came back`);
      assert.deepEqual(left.list(".relayd/journal"), [], name);
      if (ended) break;
    }
  }
});

/** Which syncs are told apart by their number: those of message 0, which came before the journal, are left out. */
const MISSED: Readonly<Record<string, readonly number[]>> = {
  "accept one": [2, 4],
  "fill a segment and go on": [4, 5, 6, 7, 8, 10],
  "deliver, and end cleanly": [6],
  "accept, end cleanly": [5],
  "deliver what a segment held that was given back, sync the directory": [8],
  "accept a huge one": [4, 5],
};

test("somebody misses each sync of the journal when it is left out", async (t) => {
  for (const [name, numbers] of Object.entries(MISSED)) {
    const scenario = SCENARIOS[name] ?? HUGE_SCENARIOS[name] ?? assert.fail();
    const syncsNames = name in HUGE_SCENARIOS;
    const whole = new CrashingDisk({ syncsNames });
    await play(scenario, whole, newStory());
    for (const number of numbers) {
      const { found } = await violations(scenario, { ignoreSync: number, syncsNames });
      const what = `${name}, without sync ${number} (${whole.syncs[number] ?? ""})`;
      assert.notDeepEqual(found, [], `${what}: nobody misses it`);
      t.diagnostic(`${what}: ${found[0] ?? ""}`);
    }
  }
});

test("a message that was committed through the journal costs one sync, shared with others", async () => {
  const disk = new CrashingDisk();
  const story = newStory();
  const store = await openOn(disk, processesOf("1"));
  await engage(store, story);
  const before = disk.syncs.length;
  await Promise.all([1, 2, 3].map(async (n) => await accept(store, story, n)));
  assert.equal(disk.syncs.length - before, 1, disk.syncs.slice(before).join(", "));
});

test("large messages alone bring the journal into use, and then cost two syncs", async () => {
  const disk = new CrashingDisk({ syncsNames: true });
  const story = newStory();
  const store = await openOn(disk, processesOf("1"));
  await accept(store, story, HUGE);
  for (let turn = 0; turn < 30; turn++) await new Promise(setImmediate);
  const before = disk.syncs.length;
  await accept(store, story, HUGE);
  assert.equal(disk.syncs.length - before, 2, disk.syncs.slice(before).join(", "));
});

test("what a forwarder is about to take is named .busy from the start; nobody else takes it", async () => {
  const disk = new CrashingDisk();
  const story = newStory();
  const store = await openOn(disk, processesOf("1"));
  await forwardOne(store, story);
  const id = await accept(store, story, 2);
  const files = [`${id}.content`, `${id}.envelope.busy`];
  assert.deepEqual(
    disk.list().filter((name) => name.startsWith(`${id}.`)),
    files,
  );
  const other = await openOn(disk, processesOf("1", 8, [7]), { recover: false });
  assert.equal(await other.lease(id), null);
  store.list();
  assert.ok((await store.ready()).includes(id), "after a listing of the directory");
  await using lease = await store.lease(id);
  assert.deepEqual(lease?.envelope, anEnvelope);
  assert.equal(await store.lease(id), null, "once");
  await using content = (await lease?.content()) ?? assert.fail();
  assert.equal((await allBytes(content)).toString(), contentOf(2));
});

test("replay is repeatable: a power cut in the middle of it is recovered from", async () => {
  const disk = new CrashingDisk({ steps: 34 });
  const story = newStory();
  await play(SCENARIOS["accept one"] ?? assert.fail(), disk, story);
  assert.ok(story.accepted.size > 0);
  for (const survivor of disk.survivors()) {
    for (let steps = 0; ; steps++) {
      const second = survivor.copy(steps);
      await openOn(second, processesOf("2")).catch((error: unknown) =>
        assert.ok(second.isDead, String(error)),
      );
      for (const last of second.survivors()) {
        await openOn(last, processesOf("2", 8));
        assert.deepEqual(judge(last, story), []);
      }
      if (!second.isDead) break;
    }
  }
});

test("replay leaves alone what was changed since, and what others have removed and noted", async () => {
  const disk = new CrashingDisk();
  const store = await openOn(disk, processesOf("1"));
  const story = newStory();
  await engage(store, story);
  const edited = await accept(store, story, 1);
  const read = await accept(store, story, 2);
  const forwarded = await accept(store, story, 3);
  const stuck = await accept(store, story, 4);
  disk.edit(`${edited}.content`, "in place", Buffer.from("as a filter wants it\r\n"));
  const other = { ...anEnvelope, forwardTo: "elsewhere.example" };
  disk.edit(`${edited}.envelope`, "in place", encodeEnvelope(other, ""));
  // A mail reader in the same process, and a forwarder in another one.
  store.noteRemoval(stuck, "removed");
  store.noteRemoval(stuck, "kept");
  store.noteRemoval(read, "removed");
  for (const ending of ["envelope", "content"]) disk.remove(`${read}.${ending}`);
  const forwarder = await openOn(disk, processesOf("1", 9, [7]));
  await complete(forwarder, story, 3, forwarded);
  const next = await openOn(disk, processesOf("1", 8, [9]));
  const ready = await next.ready();
  assert.ok(ready.includes(edited));
  assert.ok(ready.includes(stuck), "what could not be removed");
  assert.ok(!ready.includes(read), "read");
  assert.ok(!ready.includes(forwarded), "forwarded");
  assert.equal(disk.peek(`${edited}.content`)?.toString(), "as a filter wants it\r\n");
  assert.deepEqual(disk.list(".relayd/journal"), []);
});

test("a journal that has gone, with the whole spool maybe, is not believed", async () => {
  const disk = new CrashingDisk();
  const story = newStory();
  const store = await openOn(disk, processesOf("1"));
  await engage(store, story);
  await accept(store, story, 1);
  const [segment = ""] = disk.list(".relayd/journal").filter((name) => name.endsWith(".a"));
  disk.rename(`.relayd/journal/${segment}`, "elsewhere");
  await assert.rejects(accept(store, story, 2));
  await accept(store, story, 3);
  for (const survivor of disk.survivors()) {
    await openOn(survivor, processesOf("2"));
    assert.deepEqual(judgeOne(survivor, story, 3, story.begun.get(3) ?? assert.fail()), []);
  }
});

test("a journal that goes while it is written to is not believed either", async () => {
  const disk = new CrashingDisk();
  const { preallocate } = disk.journaling;
  let meanwhile = () => undefined as unknown;
  Object.assign(disk.journaling, {
    preallocate: async (name: string, bytes: number) => {
      const file = await preallocate(name, bytes);
      const sync = async () => {
        meanwhile();
        await file.sync();
      };
      return { ...file, sync };
    },
  });
  const story = newStory();
  const store = await openOn(disk, processesOf("1"));
  await engage(store, story);
  await accept(store, story, 1);
  const [segment = ""] = disk.list(".relayd/journal").filter((name) => name.endsWith(".a"));
  meanwhile = () => disk.rename(`.relayd/journal/${segment}`, "elsewhere");
  await assert.rejects(accept(store, story, 2));
});

test("a segment that another process replays is waited for, and not replayed twice", async () => {
  const disk = new CrashingDisk();
  const story = newStory();
  const store = await openOn(disk, processesOf("1"));
  await engage(store, story);
  const id = await accept(store, story, 1);
  const names = disk.list(".relayd/journal").filter((name) => name.endsWith(".a"));
  const [segment = ""] = names;
  const inode = disk.stat(`.relayd/journal/${segment}`)?.inode ?? 0;
  const claimed = `.relayd/journal/1-9-1.0.replay.1-${inode}`;
  disk.rename(`.relayd/journal/${segment}`, claimed);
  for (const ending of ["envelope", "content"]) disk.remove(`${id}.${ending}`);
  let opened = false;
  const opening = openOn(disk, processesOf("1", 8, [9])).then((next) => {
    opened = true;
    return next;
  });
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  assert.equal(opened, false);
  disk.remove(claimed);
  const next = await opening;
  assert.ok(!(await next.ready()).includes(id));
});
