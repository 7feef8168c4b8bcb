/** Power cuts before every operation of what built-in filters do, and the proof that the syncs are needed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeEnvelope, encodeEnvelope } from "../../src/spool/envelope-format.ts";
import { CrashingDisk, type CrashingDiskOptions, PowerCut } from "../support/crashing-disk.ts";
import {
  benchOn,
  CONTENT,
  distributing,
  ENVELOPE,
  envelopeOf,
  filesOf,
  has,
  ID,
  inMailbox,
  mailboxesWhole,
  prepare,
  prepending,
  RECIPIENTS,
  type Role,
  rewriting,
  splitting,
  type Work,
} from "../support/editor-bench.ts";

/** A disk on which this was done until the power failed; `resolved` when it did not fail before the end. */
async function disturbed(role: Role, work: Work, options: CrashingDiskOptions) {
  const before = new CrashingDisk();
  await prepare(before, role);
  const setUpSyncs = before.syncs.length;
  const steps = (options.steps ?? Number.POSITIVE_INFINITY) + before.operations;
  const ignoreSync = (options.ignoreSync ?? Number.NEGATIVE_INFINITY) + setUpSyncs;
  const disk = new CrashingDisk({ steps, ignoreSync });
  await prepare(disk, role);
  let resolved = true;
  try {
    await work(benchOn(disk).editor, filesOf(role));
  } catch (error) {
    if (!(error instanceof PowerCut)) throw error;
    resolved = false;
  }
  return { disk, resolved, operations: disk.operations - before.operations, setUpSyncs };
}

type Fault = (disk: CrashingDisk, resolved: boolean) => string | null;

/** What is wrong with any state of any disk that a power cut can leave. */
async function faults(role: Role, work: Work, fault: Fault, ignoreSync = -1000): Promise<string[]> {
  const { operations } = await disturbed(role, work, { ignoreSync });
  const found: string[] = [];
  for (let steps = 0; steps <= operations; steps++) {
    const { disk, resolved } = await disturbed(role, work, { steps, ignoreSync });
    for (const survivor of disk.survivors()) {
      const why = fault(survivor, resolved);
      if (why !== null) found.push(`cut before operation ${steps}: ${why}`);
    }
  }
  return found;
}

/** Syncs whose absence nobody would notice. */
async function idleSyncs(role: Role, work: Work, fault: Fault): Promise<string[]> {
  const { disk, setUpSyncs } = await disturbed(role, work, {});
  const idle: string[] = [];
  for (const [at, what] of disk.syncs.slice(setUpSyncs).entries()) {
    if ((await faults(role, work, fault, at)).length === 0) idle.push(what);
  }
  return idle;
}

function distributionFault(role: Role, contentIn: (mailbox: string) => string): Fault {
  return (disk, resolved) => {
    const original =
      has(disk, `${ID}.content`, CONTENT) &&
      has(disk, envelopeOf(role), encodeEnvelope(ENVELOPE, ""));
    const promised = role === "client" || resolved;
    if (promised && !original && !mailboxesWhole(disk, contentIn)) return "the message is lost";
    const broken = disk
      .names()
      .find((name) => /^carl\/new\/./.test(name) && !has(disk, name, CONTENT));
    return broken === undefined ? null : `${broken} is not whole`;
  };
}

const inSpool = () => "";

test("distribute() never loses a leased message, wherever the power is cut", async () => {
  const fault = distributionFault("client", inMailbox);
  assert.deepEqual(await faults("client", distributing("copy"), fault), []);
  // Here the mailboxes are in the spool itself, whose changes reach the disk in their order.
  assert.deepEqual(await idleSyncs("client", distributing("copy"), fault), ["directory"]);
});

test("distribute() by hard links resolves when a message just received is safe", async () => {
  const fault = distributionFault("server", inMailbox);
  assert.deepEqual(await faults("server", distributing("link"), fault), []);
  assert.deepEqual(await idleSyncs("server", distributing("link"), fault), []);
});

test("distribute() of envelopes resolves when the content that stays is safe", async () => {
  const fault = distributionFault("server", inSpool);
  assert.deepEqual(await faults("server", distributing("stay"), fault), []);
  assert.deepEqual(await idleSyncs("server", distributing("stay"), fault), []);
});

/** Every message that a forwarder would find is whole, and for a promised one every recipient has one. */
function splitFault(role: Role): Fault {
  return (disk) => {
    const reached = new Set<string>();
    for (const name of disk.names()) {
      const base = /^(.*)\.envelope(?:\.busy)?$/.exec(name)?.[1];
      if (base === undefined) continue;
      if (!has(disk, `${base}.content`, CONTENT)) return `content of ${name} is not whole`;
      try {
        const { toRemote } = decodeEnvelope(disk.peek(name) ?? Buffer.alloc(0), name);
        for (const one of toRemote) reached.add(one);
      } catch {
        return `${name} is not whole`;
      }
    }
    const lost = RECIPIENTS.filter((one) => !reached.has(one));
    return role === "client" && lost.length > 0 ? `lost ${lost.join(" ")}` : null;
  };
}

test("splitMessage() never loses a recipient, wherever the power is cut", async () => {
  assert.deepEqual(await faults("client", splitting, splitFault("client")), []);
  // The content of an accepted message is on disk already, and one directory's changes keep their order.
  const idle = await idleSyncs("client", splitting, splitFault("client"));
  assert.deepEqual(idle, [`file ${ID}.content`, "directory"]);
});

test("splitMessage() shows no new message before its content is on disk", async () => {
  assert.deepEqual(await faults("server", splitting, splitFault("server")), []);
  const idle = await idleSyncs("server", splitting, splitFault("server"));
  assert.ok(!idle.includes(`file ${ID}.content`));
});

test("prepend() and writeEnvelope() leave the old file or the new one, wherever the power is cut", async () => {
  for (const work of [prepending, rewriting]) {
    const fault: Fault = (disk) => {
      const whole =
        has(disk, `${ID}.content`, CONTENT) ||
        has(disk, `${ID}.content`, `Message-ID: <x@y>\r\n${CONTENT}`);
      if (!whole) return "content is not whole";
      decodeEnvelope(disk.peek(envelopeOf("client")) ?? Buffer.alloc(0), "");
      return null;
    };
    const safe: Fault = (disk, resolved) => {
      try {
        return fault(disk, resolved);
      } catch {
        return "envelope is not whole";
      }
    };
    assert.deepEqual(await faults("client", work, safe), []);
    assert.deepEqual(await idleSyncs("client", work, safe), []);
  }
});
