import assert from "node:assert/strict";
import { test } from "node:test";
import type { Receipt, Trouble } from "../../src/core/transport.ts";
import { house, lost, MINUTE } from "../support/retry-house.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { run, stations } from "../support/stations.ts";

const refusedLogin: Trouble = {
  kind: "authentication",
  connected: true,
  why: "smtp error: authentication failed",
  reply: { code: 535, text: "no" },
};
const noSecret: Trouble = { ...refusedLogin, why: "cannot do authentication", reply: null };

const ofX = { clientAccountSelector: "X" };

/** A smarthost that lets nobody in as X. */
const withoutX = (trouble: Trouble) =>
  new ScriptedTransport(
    () => accepted,
    ({ account }) => (account === "X" ? trouble : null),
  );

test("an account that may not log in keeps only its own mail waiting", async () => {
  for (const trouble of [refusedLogin, noSecret]) {
    for (const forced of [false, true]) {
      const { at, store, pauseOf, events } = house();
      const waiting = [store.put(ofX), store.put(ofX)];
      store.put();
      store.put({ clientAccountSelector: "Y" });
      const transport = withoutX(trouble);
      await run(at, async () => transport, { forced });
      assert.deepEqual([...store.kept.keys()], waiting);
      assert.equal(transport.prepared.filter(({ account }) => account === "X").length, 1);
      assert.deepEqual([pauseOf("X")?.ms, pauseOf("Y")], [MINUTE, null]);
      const told = events.flatMap((event) =>
        event.kind === "smarthost.paused" ? [event.account] : [],
      );
      assert.deepEqual(told, ["X"]);
    }
  }
});

test("an account that may log in again is told of, and not because another one may", async () => {
  const { at, store, pass, pauseOf, events } = house();
  store.put(ofX);
  await run(at, async () => withoutX(refusedLogin));
  store.put();
  await run(at, async () => new ScriptedTransport());
  assert.equal(pauseOf("X")?.ms, MINUTE);
  const resumed = () => events.filter(({ kind }) => kind === "smarthost.resumed");
  assert.deepEqual(resumed(), []);
  pass(MINUTE);
  await run(at, async () => new ScriptedTransport());
  assert.equal(store.kept.size, 0);
  const [event] = resumed();
  assert.deepEqual(event, {
    kind: "smarthost.resumed",
    address: "smarthost.test:25",
    account: "X",
  });
});

test("an account that the smarthost wants a password of (530) keeps only its own mail waiting", async () => {
  const { at, store, pauseOf } = house();
  const waiting = store.put(ofX);
  store.put();
  const reply = { code: 530, text: "5.7.0 authentication required" };
  const refusal: Receipt = { kind: "refused", step: "mail", reply, rejected: [], ended: false };
  const transport = new ScriptedTransport(({ clientAccountSelector }) =>
    clientAccountSelector === "X" ? refusal : accepted,
  );
  await run(at, async () => transport);
  assert.deepEqual([...store.kept.keys()], [waiting]);
  assert.deepEqual([pauseOf("X")?.why, pauseOf("")], [reply.text, null]);
});

test("a smarthost that is away, or breaks TLS, is asked once for all accounts", async () => {
  for (const trouble of [cannotConnect, { ...refusedLogin, kind: "tls" } as const]) {
    const { at, store } = house();
    const transport = new ScriptedTransport(
      () => accepted,
      () => trouble,
    );
    store.put(ofX);
    await run(at, async () => transport);
    store.put();
    await run(at, async () => transport);
    assert.equal(transport.prepared.length, 1);
    assert.equal(store.kept.size, 2);
  }
});

test("a smarthost that lets one account in and is away for the others' fallback keeps nobody else waiting", async () => {
  for (const retrying of ["again", "once"] as const) {
    const made = house({
      route: ({ clientAccountSelector: account }) => [
        { address: "first.test:587", account },
        { address: "second.test:587", account },
      ],
    });
    const at = retrying === "again" ? made.at : { ...made.at, retrying: null };
    const waiting = [made.store.put(ofX), made.store.put(ofX)];
    made.store.put();
    const transport = new ScriptedTransport(
      () => accepted,
      ({ address, account }) => {
        if (!address.startsWith("first")) return cannotConnect;
        return account === "X" ? refusedLogin : null;
      },
    );
    await run(at, async () => transport, { forced: true });
    assert.deepEqual([...made.store.kept.keys()], waiting, retrying);
  }
});

test("without --retry, too, an account that may not log in ends nobody else's mail in a run", async () => {
  const { at, store } = stations();
  const [first, second] = [store.put(ofX), store.put(ofX)];
  store.put();
  store.put({ clientAccountSelector: "Y" });
  const transport = withoutX(refusedLogin);
  await run(at, async () => transport);
  assert.deepEqual([...store.kept.keys()], [first, second]);
  assert.equal(store.kept.get(first)?.state, "bad");
  assert.equal(store.kept.get(second)?.state, "queued");
});

test("a message that kills its session is one of three, though another smarthost lets the account in nowhere", async () => {
  const { at, store } = house({
    retrying: null,
    route: ({ clientAccountSelector: account }) => [
      { address: "first.test:587", account },
      { address: "second.test:587", account },
    ],
  });
  const poison = store.put({ ...ofX, from: "poison" });
  store.put(ofX);
  const transport = new ScriptedTransport(
    ({ from }) => (from === "poison" ? lost(false) : accepted),
    ({ address }) => (address.startsWith("first") ? refusedLogin : null),
  );
  await run(at, async () => transport);
  assert.deepEqual([...store.kept.keys()], [poison]);
});
