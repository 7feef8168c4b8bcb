import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import type { Filter, OpenFilter, Verdict } from "../../src/core/filter.ts";
import type { Transport, Trouble } from "../../src/core/transport.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { receptionOpener } from "../../src/relay/reception.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { always, run, stations } from "../support/stations.ts";

const never = new AbortController().signal;
const peer = { address: "127.0.0.1", port: 1 };

const rejected: Verdict = {
  kind: "reject",
  next: "continue",
  reply: { code: 452, text: "rejected" },
  detail: "not today",
};

/** Opens a transport for each connection and keeps them all. */
function transports(make: () => ScriptedTransport = () => new ScriptedTransport()) {
  const opened: ScriptedTransport[] = [];
  const open = async (): Promise<Transport> => {
    const transport = make();
    opened.push(transport);
    return transport;
  };
  return { open, opened };
}

/** A routing filter that sends everything to one address, by the store's own envelope. */
function routesTo(address: string, store: ReturnType<typeof stations>["store"]): OpenFilter {
  const filter: Filter & AsyncDisposable = {
    run: async () => {
      for (const one of store.kept.values()) {
        if (one.state === "leased") one.envelope = { ...one.envelope, forwardToAddress: address };
      }
      return { kind: "pass", next: "continue" };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  return () => filter;
}

function withFilters(changes: Partial<Stations>) {
  const made = stations();
  return { ...made, at: { ...made.at, ...changes } };
}

test("run() keeps one connection for each destination and account", async () => {
  const { at, store } = stations();
  store.put();
  store.put({ forwardToAddress: "a.test:25" });
  store.put({ clientAccountSelector: "x" });
  store.put({ forwardToAddress: "a.test:25" });
  store.put();
  const { open, opened } = transports();
  assert.equal((await run(at, open)).tried, 5);
  assert.equal(store.kept.size, 0);
  assert.deepEqual(
    opened.map((one) => [one.prepared[0]?.address, one.prepared[0]?.account, one.sent.length]),
    [
      ["smarthost.test:25", "", 2],
      ["a.test:25", "", 2],
      ["smarthost.test:25", "x", 1],
    ],
  );
  assert.ok(opened.every((one) => one.quits === 1));
});

test("run() does not let a destination that hangs hold up the others", async () => {
  const { at, store } = stations();
  const slow = store.put({ forwardToAddress: "slow.test:25" });
  store.put();
  store.put({ forwardToAddress: "b.test:25" });
  let letGo: (nothing: null) => void = () => undefined;
  const gate = new Promise<null>((resolve) => {
    letGo = resolve;
  });
  let left = 3;
  const { open } = transports(() => {
    const transport = new ScriptedTransport(() => {
      left -= 1;
      // The last of the others lets the slow one go.
      if (left === 1) letGo(null);
      return accepted;
    });
    const prepare = transport.prepare.bind(transport);
    transport.prepare = async (to) =>
      to.address === "slow.test:25" ? await gate : await prepare(to);
    return transport;
  });
  await run(at, open);
  assert.equal(store.kept.has(slow), false);
  assert.equal(left, 0);
});

test("run() takes more messages for one destination than may wait in its lane", async () => {
  const { at, store } = stations();
  for (let n = 0; n < 250; n++) store.put({ forwardToAddress: "a.test:25" });
  const { open, opened } = transports();
  await run(at, open);
  assert.equal(store.kept.size, 0);
  assert.equal(opened.length, 1);
});

test("run() reaches more destinations than it has connections at a time", async () => {
  const { at, store } = stations();
  for (let n = 0; n < 60; n++) store.put({ forwardToAddress: `h${n}.test:25` });
  let open = 0;
  let most = 0;
  const all = transports(() => {
    most = Math.max(most, ++open);
    const transport = new ScriptedTransport();
    const quit = transport.quit.bind(transport);
    transport.quit = async () => {
      open -= 1;
      await quit();
    };
    return transport;
  });
  await run(at, all.open);
  assert.equal(store.kept.size, 0);
  assert.ok(most <= 20, `${most} at a time`);
});

test("run() puts messages back, and ends, when no transport can be opened", async () => {
  const { at, store } = stations();
  store.put({ forwardToAddress: "a.test:25" });
  store.put();
  store.put();
  const open = async () => await Promise.reject(new Error("no key"));
  assert.equal((await run(at, open)).error, "no key");
  assert.deepEqual(
    [...store.kept.values()].map((one) => one.state),
    ["queued", "queued", "queued"],
  );
});

test("run() asks the routing filter, and not the client filter, for a message with ForwardTo", async () => {
  const made = stations();
  let asked = 0;
  const at: Stations = {
    ...made.at,
    openRoutingFilter: routesTo("routed.test:25", made.store),
    openClientFilter: () => ({
      run: async () => {
        asked += 1;
        return { kind: "pass", next: "continue" };
      },
      [Symbol.asyncDispose]: async () => undefined,
    }),
  };
  made.store.put({ forwardTo: "example.net" });
  made.store.put();
  const { open, opened } = transports();
  await run(at, open);
  assert.deepEqual(
    opened.map((one) => one.prepared[0]?.address),
    ["routed.test:25", "smarthost.test:25"],
  );
  assert.equal(asked, 1);
});

test("run() routes a message anew although the address of an earlier run cannot be reached", async () => {
  const { at, store } = stations();
  const old = { forwardTo: "x.test", forwardToAddress: "old.test:25" };
  const ids = [
    store.put(old),
    store.put({ ...old, forwardToAddress: "a.test:25" }),
    store.put(old),
  ];
  const { open, opened } = transports(
    () =>
      new ScriptedTransport(undefined, ({ address }) =>
        address === "old.test:25" ? cannotConnect : null,
      ),
  );
  let calls = 0;
  const filter: Filter & AsyncDisposable = {
    run: async () => {
      calls += 1;
      // The first one fails while the second one is routed.
      if (calls === 2) for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      const third = store.kept.get(ids[2] ?? assert.fail());
      if (calls === 3 && third !== undefined) {
        third.envelope = { ...third.envelope, forwardToAddress: "new.test:25" };
      }
      return { kind: "pass", next: "continue" };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  await run({ ...at, openRoutingFilter: () => filter }, open);
  assert.deepEqual([...store.kept.keys()], [ids[0]]);
  assert.deepEqual(
    opened.flatMap(({ sent, prepared }) => (sent.length > 0 ? [prepared[0]?.address] : [])),
    ["a.test:25", "new.test:25"],
  );
});

test("run() fails a message that the routing filter refuses, without a code", async () => {
  const { at, store } = withFilters({ openRoutingFilter: always(rejected) });
  const id = store.put({ forwardTo: "example.net" });
  const { open, opened } = transports();
  await run(at, open);
  assert.deepEqual(store.kept.get(id)?.reason, {
    text: "routing filter failed",
    code: 0,
    recipients: ["bob@example.net"],
  });
  assert.equal(opened.length, 0);
});

test("run() ends after the message when the routing filter asks for it", async () => {
  const next = always({ kind: "pass", next: "stop" });
  const { at, store } = withFilters({ openRoutingFilter: next });
  store.put({ forwardTo: "example.net" });
  store.put();
  await run(at, transports().open);
  assert.equal(store.kept.size, 1);
});

test("run() fails a message that the client filter refuses, with its reason and 550", async () => {
  const { at, store } = withFilters({ openClientFilter: always(rejected) });
  const id = store.put();
  const { open, opened } = transports();
  await run(at, open);
  assert.deepEqual(store.kept.get(id)?.reason, {
    text: "not today",
    code: 550,
    recipients: ["bob@example.net"],
  });
  assert.equal(opened[0]?.sent.length, 0);
});

async function immediately(changes: Partial<Stations>, transport = new ScriptedTransport()) {
  const { at, store } = withFilters(changes);
  const open = receptionOpener({ at, immediate: async () => transport, onClosed: () => undefined });
  await using reception = open(peer);
  const envelope = { from: "a@b.test", toRemote: ["c@d.test"], forwardTo: "d.test" };
  const reply = await reception.receive(
    {
      envelope: { ...emptyEnvelope, ...envelope },
      content: { chunks: [Buffer.from("x\r\n")], refusal: () => null },
      peer,
      account: "",
      tls: "",
    },
    never,
  );
  return { reply, states: [...store.kept.values()].map((one) => one.state) };
}

test("an immediate session is told what became of its message", async () => {
  assert.equal((await immediately({})).reply.code, 250);
  assert.deepEqual(await immediately({ openRoutingFilter: always(rejected) }), {
    reply: { code: 452, text: "routing failed" },
    states: ["bad"],
  });
  assert.deepEqual(await immediately({ openClientFilter: always(rejected) }), {
    reply: { code: 452, text: "rejected" },
    states: ["bad"],
  });
  for (const [kind, code] of [
    ["authentication", 535],
    ["tls", 554],
  ] as const) {
    const trouble: Trouble = { kind, connected: true, why: "no", reply: { code, text: "no" } };
    const shut = new ScriptedTransport(
      () => accepted,
      () => trouble,
    );
    assert.deepEqual(await immediately({}, shut), {
      reply: { code: 554, text: "forwarding failed" },
      states: ["bad"],
    });
  }
  const away = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  assert.deepEqual(await immediately({}, away), {
    reply: { code: 452, text: "forwarding failed" },
    states: ["queued"],
  });
});
