/** Power cuts before every single operation on the disk, and the proof that every sync is needed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Envelope } from "../../src/core/envelope.ts";
import { silentJournal } from "../../src/core/events.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import type { Store } from "../../src/core/store.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { type FileStore, openFileStore } from "../../src/spool/file-store.ts";
import { CrashingDisk, type CrashingDiskOptions } from "../support/crashing-disk.ts";
import { anEnvelope, storeMessage } from "../support/messages.ts";
import { shortClock } from "../support/short-clock.ts";

const CONTENT = "Subject: hello\r\n\r\nthe content of a message\r\n";
const EDITED = "Subject: hello\r\n\r\nthe content as the filter wants it\r\n";

/** What the relay has promised to others, or begun, when the power fails. */
interface Story {
  id: MessageId | null;
  content: string;
  accepted: boolean;
  completing: boolean;
  closedAfterComplete: boolean;
  failing: boolean;
  failed: boolean;
}

type Scenario = (store: FileStore, disk: CrashingDisk, story: Story) => Promise<void>;

const SCENARIOS: Record<string, Scenario> = {
  "receive and commit": async (store, _disk, story) => {
    await using draft = await store.create();
    story.id = draft.id;
    await draft.write(Buffer.from(CONTENT));
    await draft.seal(anEnvelope);
    await draft.commit();
    story.accepted = true;
  },
  "receive, filter by replacing both files, commit": async (store, disk, story) => {
    await receiveFiltered(store, disk, story, "replace");
  },
  "receive, filter by editing both files, commit": async (store, disk, story) => {
    await receiveFiltered(store, disk, story, "in place");
  },
  "receive a large message": async (store, _disk, story) => {
    story.content = "0123456789abcdef".repeat(40_000);
    await using draft = await store.create();
    story.id = draft.id;
    await draft.write(Buffer.from(story.content).subarray(0, 300_000));
    await draft.write(Buffer.from(story.content).subarray(300_000));
    await draft.seal(anEnvelope);
    await draft.commit();
    story.accepted = true;
  },
  "receive, reject": async (store, _disk, story) => {
    await using draft = await store.create();
    story.id = draft.id;
    await draft.write(Buffer.from(CONTENT));
    await draft.seal(anEnvelope);
  },
  "forward and complete": async (store, disk, story) => {
    await using lease = await leaseNew(store, story);
    story.completing = true;
    await lease.complete();
    await store.close();
    story.closedAfterComplete = !disk.isDead; // A dead machine says nothing.
  },
  "forward and put back": async (store, _disk, story) => {
    await using _lease = await leaseNew(store, story);
  },
  "forward and fail": async (store, _disk, story) => {
    await failNew(store, story, anEnvelope.toRemote);
  },
  "forward and fail for some recipients": async (store, _disk, story) => {
    await failNew(store, story, anEnvelope.toRemote.slice(1));
  },
};

async function receiveFiltered(
  store: Store,
  disk: CrashingDisk,
  story: Story,
  how: "replace" | "in place",
): Promise<void> {
  await using draft = await store.create();
  story.id = draft.id;
  await draft.write(Buffer.from(CONTENT));
  await draft.seal(anEnvelope);
  draft.files();
  story.content = EDITED;
  disk.edit(`${draft.id}.content`, how, Buffer.from(EDITED));
  const edited: Envelope = { ...anEnvelope, forwardTo: "elsewhere.example" };
  disk.edit(`${draft.id}.envelope.new`, how, encodeEnvelope(edited, ""));
  await draft.commit();
  story.accepted = true;
}

async function leaseNew(store: Store, story: Story) {
  story.id = await storeMessage(store, CONTENT);
  story.accepted = true;
  const lease = await store.lease(story.id);
  assert.ok(lease !== null);
  return lease;
}

async function failNew(store: Store, story: Story, recipients: readonly string[]): Promise<void> {
  await using lease = await leaseNew(store, story);
  story.failing = true;
  await lease.fail({ text: "no such user", code: 550, recipients });
  story.failed = true;
}

async function openOn(disk: CrashingDisk): Promise<FileStore> {
  return await openFileStore({
    directory: disk.directory,
    sync: true,
    shared: false,
    journal: silentJournal,
    clock: shortClock,
    disk,
  });
}

/** Runs a scenario on a disk; true when it came to its end before the power was cut. */
async function play(scenario: Scenario, disk: CrashingDisk, story: Story): Promise<boolean> {
  try {
    await scenario(await openOn(disk), disk, story);
  } catch (error) {
    if (!disk.isDead) throw error;
  }
  return !disk.isDead;
}

/** Cuts the power before every operation in turn; everything found that should not be so. */
async function violations(
  scenario: Scenario,
  options: CrashingDiskOptions = {},
): Promise<{ found: string[]; cuts: number }> {
  const found: string[] = [];
  for (let steps = 0; ; steps++) {
    assert.ok(steps < 1000, "a scenario has an end");
    const disk = new CrashingDisk({ ...options, steps });
    const story = newStory();
    const ended = await play(scenario, disk, story);
    for (const survivor of disk.survivors()) {
      await openOn(survivor);
      found.push(...judge(survivor, story).map((what) => `cut before ${steps}: ${what}`));
    }
    if (ended) return { found, cuts: steps };
  }
}

function newStory(): Story {
  return {
    id: null,
    content: CONTENT,
    accepted: false,
    completing: false,
    closedAfterComplete: false,
    failing: false,
    failed: false,
  };
}

function judge(disk: CrashingDisk, story: Story): string[] {
  if (story.id === null) return [];
  const names = disk.list();
  const envelopes = names.filter((name) => name.startsWith(`${story.id}.envelope`));
  return [
    ...judgeWhole(disk, story, envelopes),
    ...judgeEnvelopes(story, envelopes),
    ...names
      .filter((name) => !/\.(?:content|envelope|envelope\.bad)$/.test(name))
      .map((name) => `left for ever: ${name}`),
    ...(envelopes.length === 0 && names.length > 0 ? [`orphan: ${names.join(" ")}`] : []),
  ];
}

/** I1, I2, I4 and the promises of fail() and close(). */
function judgeEnvelopes(story: Story, envelopes: readonly string[]): string[] {
  const waiting = envelopes.includes(`${story.id}.envelope`);
  const bad = envelopes.includes(`${story.id}.envelope.bad`);
  const found: string[] = [];
  if (envelopes.length > 1) found.push(`two envelopes: ${envelopes.join(" ")}`);
  if (story.accepted && !story.completing && !waiting && !bad) found.push("accepted mail is lost");
  if (story.closedAfterComplete && envelopes.length > 0) found.push("delivered mail came back");
  if (story.failed && !bad) found.push("set aside, but not set aside");
  if (bad && !story.failing) found.push("set aside for no reason");
  return found;
}

/** I3 and I5: whatever has an envelope is whole. */
function judgeWhole(disk: CrashingDisk, story: Story, envelopes: readonly string[]): string[] {
  return envelopes.flatMap((name) => {
    const found: string[] = [];
    const content = disk.peek(`${story.id}.content`);
    if (content === null) found.push(`${name} has no content`);
    else if (content.toString() !== story.content) found.push(`content of ${name} is torn`);
    try {
      const { trailer } = decodeEnvelope(disk.peek(name) ?? Buffer.alloc(0), name);
      if (name.endsWith(".bad") && trailer.length !== 2) found.push(`${name} has no reason`);
    } catch (error) {
      found.push(`${name} is torn: ${String(error)}`);
    }
    return found;
  });
}

test("no power cut loses, tears or strands a message, wherever it comes", async (t) => {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    const { found, cuts } = await violations(scenario);
    t.diagnostic(`${name}: ${cuts} cuts`);
    assert.deepEqual(found, [], name);
  }
});

test("a power cut in the middle of recovery is recovered from", async () => {
  const disk = new CrashingDisk({ steps: 20 });
  const story = newStory();
  await play(SCENARIOS["forward and fail"] ?? assert.fail(), disk, story);
  for (const survivor of disk.survivors()) {
    for (let steps = 0; ; steps++) {
      const second = survivor.copy(steps);
      await openOn(second).catch((error: unknown) => assert.ok(second.isDead, String(error)));
      for (const last of second.survivors()) {
        await openOn(last);
        assert.deepEqual(judge(last, story), []);
      }
      if (!second.isDead) break;
    }
  }
});

test("the power-cut test turns red when any one sync is left out", async (t) => {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    const whole = new CrashingDisk();
    await play(scenario, whole, newStory());
    for (const [number, sync] of whole.syncs.entries()) {
      const { found } = await violations(scenario, { ignoreSync: number });
      assert.notDeepEqual(found, [], `${name}: nobody misses sync ${number} (${sync})`);
      t.diagnostic(
        `${name}, without sync ${number} (${sync.replace(/emailrelay[.\d]+\d/, "ID")}): ${found[0] ?? ""}`,
      );
    }
  }
});

test("commit() resolves only after content, envelope and directory are synced, in this order", async () => {
  const disk = new CrashingDisk();
  const store = await openOn(disk);
  const id = await storeMessage(store, CONTENT);
  assert.deepEqual(disk.syncs, [`file ${id}.content`, `file ${id}.envelope.new`, "directory"]);
});

test("sync: false leaves out every sync", async () => {
  const disk = new CrashingDisk();
  const store = await openFileStore({
    directory: disk.directory,
    sync: false,
    shared: false,
    journal: silentJournal,
    clock: shortClock,
    disk,
  });
  const id = await storeMessage(store, CONTENT);
  await using lease = await store.lease(id);
  await lease?.fail({ text: "x", code: 0, recipients: [] });
  await store.close();
  assert.deepEqual(disk.syncs, []);
});

test("messages that commit together share directory syncs", async () => {
  const disk = new CrashingDisk();
  const store = await openOn(disk);
  await Promise.all(Array.from({ length: 20 }, async () => await storeMessage(store, CONTENT)));
  const shared = disk.syncs.filter((what) => what === "directory").length;
  assert.ok(shared < 20, `${shared} directory syncs for 20 messages`);
});
