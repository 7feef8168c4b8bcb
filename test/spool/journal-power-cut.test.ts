/** Power cuts before every operation of a spool that commits through its journal, and the proof that every sync is needed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentJournal } from "../../src/core/events.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { type FileStore, openFileStore } from "../../src/spool/file-store.ts";
import { waitingId } from "../../src/spool/names.ts";
import type { ProcessTable } from "../../src/spool/process-table.ts";
import { CrashingDisk, type CrashingDiskOptions } from "../support/crashing-disk.ts";
import { allBytes, anEnvelope, storeMessage } from "../support/messages.ts";
import { shortClock } from "../support/short-clock.ts";

/** Too large for a segment: its commit syncs the directory. */
const LARGE = 9;
/** Larger than what any record holds: its content is synced by itself, and the journal has its envelope. */
const HUGE = 10;
const TIMES: Readonly<Record<number, number>> = { [LARGE]: 3000, [HUGE]: 40_000 };
const contentOf = (n: number) =>
  `Subject: ${n}\r\n\r\n${"content".repeat(TIMES[n] ?? 1)} number ${n}\r\n`;

interface Story {
  /** Accepted or begun, by number. */
  readonly begun: Map<number, MessageId | null>;
  readonly accepted: Set<number>;
  /** lease.complete() was called. */
  readonly removing: Set<number>;
  closed: boolean;
  readonly removed: Set<number>;
}

type Scenario = (store: FileStore, story: Story, disk: CrashingDisk) => Promise<void>;

/** Processes of one boot: the one that serves, and maybe one that still lives. */
function processesOf(boot: string, pid = 7, alive: readonly number[] = []): ProcessTable {
  return {
    home: { host: "host", boot, namespace: "pid:1" },
    pid,
    startOf: (one) => (one === pid || alive.includes(one) ? boot : null),
    startedAtMs: () => Date.now(),
  };
}

/** How a power cut may look to the program that comes after it. */
const AFTERWARDS = {
  "the machine is started anew": { device: 1, processes: processesOf("2") },
  "the disk comes back to the machine that still runs": {
    device: 1,
    processes: processesOf("1", 8),
  },
  "a copy of the disk is read while the first program still runs": {
    device: 2,
    processes: processesOf("1", 8, [7]),
  },
} as const;

async function openOn(
  disk: CrashingDisk,
  processes: ProcessTable,
  { recover = true, demand = 0, clock = shortClock } = {},
): Promise<FileStore> {
  return await openFileStore({
    directory: disk.directory,
    sync: true,
    shared: false,
    recover,
    journal: silentJournal,
    clock,
    disk,
    processes,
    commits: { segmentBytes: 4 * 4096, demand },
  });
}

async function accept(store: FileStore, story: Story, n: number): Promise<MessageId> {
  story.begun.set(n, null);
  const id = await storeMessage(store, contentOf(n));
  story.begun.set(n, id);
  story.accepted.add(n);
  return id;
}

async function complete(store: FileStore, story: Story, n: number, id: MessageId): Promise<void> {
  await using lease = await store.lease(id);
  story.removing.add(n);
  await lease?.complete();
  story.removed.add(n);
}

/** The first commit asks for the journal; it is made beside it. */
async function engage(store: FileStore, story: Story): Promise<void> {
  await accept(store, story, 0);
  for (let turn = 0; turn < 30; turn++) await new Promise(setImmediate);
}

/** What comes next is reserved for whoever has taken this one. */
async function forwardOne(store: FileStore, story: Story): Promise<void> {
  await engage(store, story);
  await complete(store, story, 1, await accept(store, story, 1));
}

/** On a disk that syncs a new file's name with it. */
const HUGE_SCENARIOS: Record<string, Scenario> = {
  "accept a huge one": async (store, story) => {
    await engage(store, story);
    await accept(store, story, HUGE);
  },
  "accept a huge one, deliver it, end cleanly": async (store, story, disk) => {
    await engage(store, story);
    await complete(store, story, HUGE, await accept(store, story, HUGE));
    await store.close();
    story.closed = !disk.isDead;
  },
  "accept a huge one for a forwarder that takes it, and another one": async (store, story) => {
    await forwardOne(store, story);
    const [id] = await Promise.all([HUGE, 2].map(async (n) => await accept(store, story, n)));
    await complete(store, story, HUGE, id ?? assert.fail());
  },
};

const SCENARIOS: Record<string, Scenario> = {
  "accept one": async (store, story) => {
    await engage(store, story);
    await accept(store, story, 1);
  },
  "accept three at once": async (store, story) => {
    await engage(store, story);
    await Promise.all([1, 2, 3].map(async (n) => await accept(store, story, n)));
  },
  "fill a segment and go on": async (store, story) => {
    await engage(store, story);
    for (const n of [1, 2, 3, 4, 5]) await accept(store, story, n);
  },
  "deliver, and end cleanly": async (store, story, disk) => {
    await engage(store, story);
    const id = await accept(store, story, 1);
    await complete(store, story, 1, id);
    await store.close();
    story.closed = !disk.isDead;
  },
  "accept, end cleanly": async (store, story, disk) => {
    await engage(store, story);
    await accept(store, story, 1);
    await store.close();
    story.closed = !disk.isDead;
  },
  "deliver what a segment held that was given back, sync the directory": async (
    store,
    story,
    disk,
  ) => {
    await engage(store, story);
    const id = await accept(store, story, 1);
    for (const n of [2, 3, 4, 5]) await accept(store, story, n);
    await complete(store, story, 1, id);
    await accept(store, story, LARGE);
    story.closed = !disk.isDead;
  },
  "deliver, accept another, deliver that": async (store, story) => {
    await engage(store, story);
    const id = await accept(store, story, 1);
    await complete(store, story, 1, id);
    const other = await accept(store, story, 2);
    await complete(store, story, 2, other);
  },
  "accept for a forwarder that takes one after the other": async (store, story) => {
    await forwardOne(store, story);
    const ids = await Promise.all([2, 3, 4].map(async (n) => await accept(store, story, n)));
    await complete(store, story, 2, ids[0] ?? assert.fail());
    await using lease = await store.lease(ids[1] ?? assert.fail());
    await lease?.fail({ text: "no", code: 550, recipients: anEnvelope.toRemote });
  },
  "accept for a forwarder that ends": async (store, story, disk) => {
    await forwardOne(store, story);
    await accept(store, story, 2);
    await store.close();
    story.closed = !disk.isDead;
  },
  "set aside": async (store, story) => {
    await engage(store, story);
    const id = await accept(store, story, 1);
    await using lease = await store.lease(id);
    await lease?.fail({ text: "no", code: 550, recipients: anEnvelope.toRemote });
  },
};

async function play(scenario: Scenario, disk: CrashingDisk, story: Story): Promise<boolean> {
  try {
    await scenario(await openOn(disk, processesOf("1")), story, disk);
  } catch (error) {
    if (!disk.isDead) throw error;
  }
  return !disk.isDead;
}

async function violations(
  scenario: Scenario,
  options: CrashingDiskOptions = {},
  { device, processes }: (typeof AFTERWARDS)[keyof typeof AFTERWARDS] = AFTERWARDS[
    "the machine is started anew"
  ],
): Promise<{ found: string[]; cuts: number }> {
  const found: string[] = [];
  for (let steps = 0; ; steps++) {
    assert.ok(steps < 1000, "a scenario has an end");
    const disk = new CrashingDisk({ ...options, steps });
    const story = newStory();
    const ended = await play(scenario, disk, story);
    for (const survivor of disk.survivors({ device })) {
      await openOn(survivor, processes);
      const faults = [...judge(survivor, story), ...unpromised(survivor, story)];
      found.push(...faults.map((what) => `cut before ${steps}: ${what}`));
    }
    if (ended) return { found, cuts: steps };
  }
}

function newStory(): Story {
  return {
    begun: new Map(),
    accepted: new Set(),
    removing: new Set(),
    removed: new Set(),
    closed: false,
  };
}

function judge(disk: CrashingDisk, story: Story): string[] {
  return [...story.begun].flatMap(([n, id]) => (id === null ? [] : judgeOne(disk, story, n, id)));
}

/** What is there with its final name, and nobody was told of, is whole all the same: it is going to be sent. */
function unpromised(disk: CrashingDisk, story: Story): string[] {
  const known = new Set([...story.begun.values()]);
  const whole = new Set([...story.begun.keys()].map(contentOf));
  return disk.list().flatMap((name) => {
    const id = waitingId(name);
    if (id === null || known.has(id)) return [];
    const content = disk.peek(`${id}.content`)?.toString() ?? "missing";
    return whole.has(content) ? [] : [`content of the unpromised ${id} is ${content}`];
  });
}

function judgeOne(disk: CrashingDisk, story: Story, n: number, id: MessageId): string[] {
  const names = disk.list().filter((name) => name.startsWith(`${id}.`));
  const envelopes = names.filter((name) => name.includes(".envelope"));
  const found: string[] = [];
  if (envelopes.length === 0 && !story.removing.has(n)) found.push(`accepted mail ${n} is lost`);
  if (envelopes.length > 1) found.push(`two envelopes: ${envelopes.join(" ")}`);
  if (envelopes.length > 0 && story.closed && story.removed.has(n)) found.push(`${n} came back`);
  if (envelopes.length === 0) {
    return [...found, ...names.map((name) => `left for ever: ${name}`)];
  }
  const content = disk.peek(`${id}.content`)?.toString();
  if (content !== contentOf(n)) found.push(`content of ${n} is ${content ?? "missing"}`);
  for (const name of envelopes) {
    try {
      decodeEnvelope(disk.peek(name) ?? Buffer.alloc(0), name);
    } catch (error) {
      found.push(`${name} is torn: ${String(error)}`);
    }
  }
  return found;
}

for (const [what, afterwards] of Object.entries(AFTERWARDS)) {
  test(`no power cut loses or tears what the journal has: ${what}`, async (t) => {
    for (const [name, scenario] of Object.entries(SCENARIOS)) {
      const { found, cuts } = await violations(scenario, {}, afterwards);
      t.diagnostic(`${name}: ${cuts} cuts`);
      assert.deepEqual(found.slice(0, 10), [], name);
    }
  });
}

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
  const disk = new CrashingDisk({ steps: 31 });
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
