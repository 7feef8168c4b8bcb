/** Whoever follows the events knows what is in hand: what was taken and not tried is told, too. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import type { RelayEvent } from "../../src/core/events.ts";
import type { OpenFilter } from "../../src/core/filter.ts";
import { Pace } from "../../src/relay/pace.ts";
import { receptionOpener } from "../../src/relay/reception.ts";
import { house, MINUTE } from "../support/retry-house.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { run, stations } from "../support/stations.ts";

/** For each time that a message was taken in hand, the end of it that was told. */
function endsOf(events: readonly RelayEvent[]): string[] {
  const inHand = new Set<string>();
  const ends: string[] = [];
  for (const event of events) {
    if (event.kind === "forward.message") inHand.add(event.id);
    const isEnd = "delivery" in event || event.kind === "forward.skipped";
    if (isEnd && inHand.delete(event.id)) ends.push(event.kind);
  }
  assert.deepEqual([...inHand], []);
  return ends;
}

const away = () =>
  new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );

/** A routing filter that has nothing to say. */
const pass: OpenFilter = () => ({
  run: async () => ({ kind: "pass", next: "continue" }),
  [Symbol.asyncDispose]: async () => undefined,
});

const to = (forwardToAddress: string) => ({ forwardTo: "d.test", forwardToAddress });

test("run() tells of each message that a dead smarthost leaves in the queue after the routing filter", async () => {
  const { at, store, events } = stations({ openRoutingFilter: pass });
  for (let n = 0; n < 3; n++) store.put(to("dead.test:25"));
  await run(at, async () => away());
  assert.deepEqual(endsOf(events), ["message.queued", "forward.skipped", "forward.skipped"]);
});

test("run() tells of each message that waits for a paused smarthost", async () => {
  const { at, store, events, pass: later } = house();
  store.put();
  await run(at, async () => away());
  later(MINUTE / 2);
  store.put();
  await run(at, async () => away());
  assert.deepEqual(endsOf(events), ["message.queued", "forward.skipped"]);
});

test("run() tells of a message that a fault of our own has stopped", async () => {
  const { at, store, events } = stations();
  store.put();
  await run(at, async () => {
    throw new Error("no keys");
  });
  assert.deepEqual(endsOf(events), ["forward.skipped"]);
});

test("an immediate session tells of a message whose turn is later", async () => {
  const made = stations();
  const at = { ...made.at, pace: new Pace({ count: 1, periodMs: 3_600_000 }, made.at.clock) };
  const peer = { address: "127.0.0.1", port: 1 };
  const transport = new ScriptedTransport();
  const open = receptionOpener({ at, immediate: async () => transport, onClosed: () => undefined });
  await using session = open(peer);
  for (let n = 0; n < 2; n++) {
    const envelope = { ...emptyEnvelope, toRemote: ["c@d.test"] };
    const content = { chunks: [Buffer.from("one\r\n")], refusal: () => null };
    const submission = { envelope, content, peer, account: "", tls: "" };
    await session.receive(submission, new AbortController().signal);
  }
  assert.deepEqual(endsOf(made.events), ["message.delivered", "forward.skipped"]);
});

test("run() tells of a message for which there is no room, and takes it in hand again", async () => {
  const { at, store, events } = stations();
  for (let n = 0; n < 130; n++) store.put({ forwardToAddress: "slow.test:25" });
  let more: () => void = () => undefined;
  const full = new Promise<void>((resolve) => {
    more = resolve;
  });
  const tell = (event: RelayEvent) => {
    events.push(event);
    if (event.kind === "forward.skipped") more();
  };
  class Slow extends ScriptedTransport {
    override async prepare() {
      await full;
      return null;
    }
  }
  await run({ ...at, journal: { tell, detail: false } }, async () => new Slow());
  const ends = endsOf(events);
  assert.equal(ends.filter((kind) => kind === "message.delivered").length, 130);
  assert.ok(ends.includes("forward.skipped"));
});
