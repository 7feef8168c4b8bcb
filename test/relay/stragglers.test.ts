import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessageId } from "../../src/core/message-id.ts";
import { Stragglers } from "../../src/relay/stragglers.ts";
import { lost } from "../support/retry-house.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { run, stations } from "../support/stations.ts";

const ids = (...names: string[]) => names as MessageId[];

/** What is from "poison" ends each session that it is sent over. */
const poisoned = () =>
  new ScriptedTransport(({ from }) => (from === "poison" ? lost(false) : accepted));

test("messages that each end their session do not keep those behind them from ever being sent", async () => {
  const { at, store } = stations();
  const poison = Array.from({ length: 4 }, () => store.put({ from: "poison" }));
  store.put();
  store.put();
  await run(at, async () => poisoned());
  assert.equal(store.kept.size, 6);
  const second = poisoned();
  await run(at, async () => second);
  assert.deepEqual([...store.kept.keys()], poison);
  store.put();
  const third = poisoned();
  await run(at, async () => third);
  assert.deepEqual([...store.kept.keys()], poison);
  assert.notEqual(third.sent[0]?.from, "poison");
});

test("a smarthost that nobody can connect to changes no message's place", async () => {
  const { at, store } = stations();
  store.put({ from: "first" });
  store.put({ from: "second" });
  const away = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  await run(at, async () => away);
  const transport = new ScriptedTransport();
  await run(at, async () => transport);
  assert.deepEqual(
    transport.sent.map(({ from }) => from),
    ["first", "second"],
  );
});

test("Stragglers puts who was lost last behind all others, and forgets who is gone", () => {
  const stragglers = new Stragglers();
  const queue = ids("a", "b", "c", "d");
  assert.equal(stragglers.last(queue), queue);
  for (const id of ids("a", "b", "a")) stragglers.lost(id);
  assert.deepEqual(stragglers.last(queue), ids("c", "d", "b", "a"));
  assert.deepEqual(stragglers.last(ids("a", "c", "d")), ids("c", "d", "a"));
  assert.deepEqual(stragglers.last(queue), ids("b", "c", "d", "a"));
});

test("Stragglers remembers so many, and then the newest", () => {
  const stragglers = new Stragglers();
  const many = Array.from({ length: 10_001 }, (_, n) => `emailrelay.1.1.${n}` as MessageId);
  for (const id of many) stragglers.lost(id);
  const [other] = ids("other");
  const [oldest, ...others] = many;
  assert.deepEqual(stragglers.last([...many, ...ids("other")]), [oldest, other, ...others]);
});
