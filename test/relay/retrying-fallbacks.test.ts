import assert from "node:assert/strict";
import { test } from "node:test";
import type { Envelope } from "../../src/core/envelope.ts";
import { retryStateOf } from "../../src/core/retry-state.ts";
import type { Receipt, Smarthost, Trouble } from "../../src/core/transport.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { house, lost, MINUTE } from "../support/retry-house.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { run } from "../support/stations.ts";

test("a fallback takes over when the first smarthost cannot be used", async () => {
  const { at, store } = house({
    route: ({ clientAccountSelector: account }) => [
      { address: "first.test:587", account },
      { address: "second.test:587", account },
    ],
  });
  store.put();
  store.put();
  const transport = new ScriptedTransport(
    () => accepted,
    (to) => (to.address.startsWith("first") ? cannotConnect : null),
  );
  assert.equal((await run(at, async () => transport)).error, null);
  assert.equal(store.kept.size, 0);
  assert.deepEqual(
    transport.prepared.map(({ address }) => address),
    ["first.test:587", "second.test:587", "second.test:587"],
  );
});

test("a fallback that is used does not have the first smarthost asked by every run", async () => {
  const { at, store, agenda, pass } = house({
    route: ({ clientAccountSelector: account }) => [
      { address: "first.test:587", account },
      { address: "second.test:587", account },
    ],
  });
  const transport = new ScriptedTransport(
    () => accepted,
    (to) => (to.address.startsWith("first") ? cannotConnect : null),
  );
  const asked = () => transport.prepared.filter(({ address }) => address.startsWith("first"));
  for (let n = 0; n < 3; n++) {
    store.put();
    await run(at, async () => transport);
  }
  assert.equal(asked().length, 1);
  pass(agenda.next() ?? 0);
  store.put();
  await run(at, async () => transport);
  assert.equal(asked().length, 2);
  assert.equal(store.kept.size, 0);
});

const twoSmarthosts: Partial<Stations> = {
  route: ({ clientAccountSelector: account }) => [
    { address: "first.test:587", account },
    { address: "second.test:587", account },
  ],
};

/** Loses what goes to the first smarthost. */
function losingFirst(unknown: boolean, second: Receipt = accepted): ScriptedTransport {
  const transport: ScriptedTransport = new ScriptedTransport(() =>
    transport.prepared.at(-1)?.address.startsWith("first") === true ? lost(unknown) : second,
  );
  return transport;
}

test("a message that the first smarthost hangs up on goes to the next one at once", async () => {
  const { at, store, agenda } = house(twoSmarthosts);
  for (let n = 0; n < 5; n++) store.put();
  const transport = losingFirst(false);
  await run(at, async () => transport);
  assert.equal(store.kept.size, 0);
  // Three times the first was tried.
  assert.equal(transport.sent.length, 8);
  assert.ok(agenda.pausedFor("first.test:587") !== null);
});

test("a message that the first smarthost may have taken goes nowhere else", async () => {
  const { at, store } = house(twoSmarthosts);
  const id = store.put();
  const transport = losingFirst(true);
  await run(at, async () => transport);
  assert.equal(transport.sent.length, 1);
  assert.equal(retryStateOf(store.kept.get(id)?.envelope as Envelope).unknown, 1);
});

test("a message that every smarthost hangs up on is tried again later, as one attempt", async () => {
  const { at, store, agenda } = house(twoSmarthosts);
  const id = store.put();
  const transport = losingFirst(false, lost(false));
  await run(at, async () => transport);
  assert.equal(transport.sent.length, 2);
  assert.equal(retryStateOf(store.kept.get(id)?.envelope as Envelope).tries, 1);
  assert.equal(agenda.next(), MINUTE);
});

test("the next smarthost is used without --retry, too, and a client filter is asked once", async () => {
  let asked = 0;
  const filter: Stations["openClientFilter"] = () => ({
    run: async () => {
      asked += 1;
      return { kind: "pass", next: "continue" };
    },
    [Symbol.asyncDispose]: async () => undefined,
  });
  const { at, store } = house({ ...twoSmarthosts, retrying: null, openClientFilter: filter });
  store.put();
  store.put();
  const transport = losingFirst(false);
  await run(at, async () => transport);
  assert.equal(store.kept.size, 0);
  assert.deepEqual([transport.sent.length, asked], [3, 2]);
});

/** What is from "poison" ends each session that it is sent over. */
const poisoned = (onPrepare?: (to: Smarthost) => Trouble | null) =>
  new ScriptedTransport(({ from }) => (from === "poison" ? lost(false) : accepted), onPrepare);

const secondAway = ({ address }: Smarthost) =>
  address.startsWith("second") ? cannotConnect : null;

test("messages that end each session hold up no others because there are several smarthosts", async () => {
  const { at, store } = house({ ...twoSmarthosts, retrying: null });
  for (let n = 0; n < 12; n++) store.put({ from: n % 3 === 0 ? "poison" : "good" });
  assert.equal((await run(at, async () => poisoned())).tried, 12);
  assert.equal(store.kept.size, 4);
});

test("a message that the first smarthost hangs up on holds up no others while the next is away", async () => {
  for (const changes of [twoSmarthosts, { ...twoSmarthosts, retrying: null }]) {
    const { at, store } = house(changes);
    const lostOnes = [store.put({ from: "poison" }), store.put({ from: "poison" })];
    for (let n = 0; n < 5; n++) store.put();
    const transport = poisoned(secondAway);
    await run(at, async () => transport);
    assert.deepEqual([...store.kept.keys()], lostOnes);
    // The next one was asked once.
    assert.equal(transport.prepared.filter(secondAway).length, 1);
    const tries = [...store.kept.values()].map(({ envelope }) => retryStateOf(envelope).tries);
    assert.deepEqual(tries, at.retrying === null ? [0, 0] : [1, 1]);
  }
});
