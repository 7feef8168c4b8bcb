/** What a spool that commits through its journal goes through, cut short anywhere, and what must be left of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentJournal } from "../../src/core/events.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import { decodeEnvelope } from "../../src/spool/envelope-format.ts";
import { type FileStore, openFileStore } from "../../src/spool/file-store.ts";
import { waitingId } from "../../src/spool/names.ts";
import type { ProcessTable } from "../../src/spool/process-table.ts";
import { CrashingDisk, type CrashingDiskOptions } from "./crashing-disk.ts";
import { anEnvelope, storeMessage } from "./messages.ts";
import { shortClock } from "./short-clock.ts";

/** Too large for a segment: its commit syncs the directory. */
const LARGE = 9;
/** Larger than what any record holds: its content is synced by itself, and the journal has its envelope. */
export const HUGE = 10;
const TIMES: Readonly<Record<number, number>> = { [LARGE]: 3000, [HUGE]: 40_000 };
export const contentOf = (n: number) =>
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
export function processesOf(boot: string, pid = 7, alive: readonly number[] = []): ProcessTable {
  return {
    home: { host: "host", boot, namespace: "pid:1" },
    pid,
    startOf: (one) => (one === pid || alive.includes(one) ? boot : null),
    startedAtMs: () => Date.now(),
  };
}

/** How a power cut may look to the program that comes after it. */
export const AFTERWARDS = {
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

export async function openOn(
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

export async function accept(store: FileStore, story: Story, n: number): Promise<MessageId> {
  story.begun.set(n, null);
  const id = await storeMessage(store, contentOf(n));
  story.begun.set(n, id);
  story.accepted.add(n);
  return id;
}

export async function complete(
  store: FileStore,
  story: Story,
  n: number,
  id: MessageId,
): Promise<void> {
  await using lease = await store.lease(id);
  story.removing.add(n);
  await lease?.complete();
  story.removed.add(n);
}

/** The first commit asks for the journal; it is made beside it. */
export async function engage(store: FileStore, story: Story): Promise<void> {
  await accept(store, story, 0);
  for (let turn = 0; turn < 30; turn++) await new Promise(setImmediate);
}

/** What comes next is reserved for whoever has taken this one. */
export async function forwardOne(store: FileStore, story: Story): Promise<void> {
  await engage(store, story);
  await complete(store, story, 1, await accept(store, story, 1));
}

/** On a disk that syncs a new file's name with it. */
export const HUGE_SCENARIOS: Record<string, Scenario> = {
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

export const SCENARIOS: Record<string, Scenario> = {
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

export async function play(scenario: Scenario, disk: CrashingDisk, story: Story): Promise<boolean> {
  try {
    await scenario(await openOn(disk, processesOf("1")), story, disk);
  } catch (error) {
    if (!disk.isDead) throw error;
  }
  return !disk.isDead;
}

export async function violations(
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
      // What a power cut alone has torn is not damaged.
      const isDamaged = survivor.list(".relayd/journal").some((name) => name.includes(".damaged"));
      if (isDamaged && options.ignoreSync === undefined) faults.push("a segment was set aside");
      found.push(...faults.map((what) => `cut before ${steps}: ${what}`));
    }
    if (ended) return { found, cuts: steps };
  }
}

export function newStory(): Story {
  return {
    begun: new Map(),
    accepted: new Set(),
    removing: new Set(),
    removed: new Set(),
    closed: false,
  };
}

export function judge(disk: CrashingDisk, story: Story): string[] {
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

export function judgeOne(disk: CrashingDisk, story: Story, n: number, id: MessageId): string[] {
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
