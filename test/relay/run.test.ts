import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Receipt, Trouble } from "../../src/core/transport.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { Run } from "../../src/relay/run.ts";
import { Survey } from "../../src/relay/survey.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { always, run, stations } from "../support/stations.ts";

async function runWith(at: Stations, transport: ScriptedTransport) {
  return await run(at, async () => transport);
}

const lost: Receipt = {
  kind: "lost",
  trouble: { kind: "connection", connected: true, why: "peer disconnected", reply: null },
  unknown: false,
};

function refused(code: number, rejected: readonly string[] = []): Receipt {
  const reply = { code, text: "no" };
  const list = rejected.map((recipient) => ({ recipient, reply }));
  const step = rejected.length > 0 ? "rcpt" : "content";
  return { kind: "refused", step, reply, rejected: list, ended: false };
}

test("run() delivers everything that waits over one transport and says QUIT once", async () => {
  const { at, store, events } = stations();
  store.put();
  store.put();
  const transport = new ScriptedTransport();
  assert.deepEqual(await runWith(at, transport), { tried: 2, error: null });
  assert.equal(store.kept.size, 0);
  assert.equal(transport.quits, 1);
  assert.equal(events.filter((event) => event.kind === "message.delivered").length, 2);
});

test("run() opens no transport for an empty queue", async () => {
  const { at } = stations();
  const open = () => assert.fail("opened");
  assert.deepEqual(await run(at, open), { tried: 0, error: null });
});

test("run() leaves a message that cannot be locked where it is, and goes on", async () => {
  const { at, store, events } = stations();
  const id = store.put();
  store.put();
  store.stuck.add(id);
  const error = `cannot lock "${id}": i/o error`;
  assert.deepEqual(await runWith(at, new ScriptedTransport()), { tried: 1, error });
  assert.deepEqual([...store.kept.keys()], [id]);
  const notes = events.filter((event) => event.kind === "note");
  assert.deepEqual(
    notes.map(({ text, detail }) => ({ text, detail })),
    [{ text: `cannot forward ${id}: ${error}`, detail: false }],
  );
});

test("run() does not fill the log where no message can be locked, and gives up", async () => {
  const { at, store, events } = stations();
  for (let n = 0; n < 1500; n++) store.stuck.add(store.put());
  await assert.rejects(runWith(at, new ScriptedTransport()), /cannot lock/);
  const notes = events.filter((event) => event.kind === "note");
  assert.equal(notes.length, 1000);
  assert.equal(notes.filter(({ detail }) => !detail).length, 3);
});

test("run() sets a refused message aside with the refusal's code and goes on", async () => {
  const { at, store } = stations();
  const first = store.put();
  store.put();
  let sent = 0;
  const transport = new ScriptedTransport(() => (sent++ === 0 ? refused(452) : accepted));
  assert.equal((await runWith(at, transport)).tried, 2);
  const kept = store.kept.get(first);
  assert.equal(kept?.state, "bad");
  assert.deepEqual(kept?.reason, { text: "no", code: 452, recipients: ["bob@example.net"] });
  assert.equal(store.kept.size, 1);
});

test("run() keeps all recipients of a refused message in forward-to-all mode", async () => {
  const { at, store } = stations();
  const id = store.put({ toRemote: ["a@x.test", "b@x.test"] });
  await runWith(at, new ScriptedTransport(() => refused(550, ["b@x.test"])));
  assert.deepEqual(store.kept.get(id)?.reason, {
    text: "one or more recipients rejected",
    code: 550,
    recipients: ["a@x.test", "b@x.test"],
  });
});

test("run() keeps only the refused recipients of a message that others got", async () => {
  const { at, store } = stations({ recipients: "some" });
  const id = store.put({ toRemote: ["a@x.test", "b@x.test"] });
  const reply = { code: 451, text: "later" };
  await runWith(
    at,
    new ScriptedTransport(() => ({
      kind: "accepted",
      reply: { code: 250, text: "ok" },
      rejected: [{ recipient: "b@x.test", reply }],
    })),
  );
  assert.equal(store.kept.get(id)?.state, "bad");
  assert.deepEqual(store.kept.get(id)?.reason?.recipients, ["b@x.test"]);
  assert.equal(store.kept.get(id)?.reason?.code, 451);
});

test("run() ends, and leaves everything queued, when the smarthost cannot be connected", async () => {
  const { at, store } = stations();
  store.put();
  store.put();
  const transport = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  assert.deepEqual(await runWith(at, transport), { tried: 1, error: cannotConnect.why });
  assert.deepEqual(
    [...store.kept.values()].map((one) => one.state),
    ["queued", "queued"],
  );
});

test("run() skips a routed address that cannot be reached and delivers the rest", async () => {
  const { at, store } = stations();
  const away = { forwardToAddress: "away.test:25" };
  const ids = [store.put(away), store.put(), store.put(away)];
  const transport = new ScriptedTransport(
    () => accepted,
    (to) => (to.address === "away.test:25" ? cannotConnect : null),
  );
  assert.equal((await runWith(at, transport)).error, cannotConnect.why);
  assert.deepEqual([...store.kept.keys()], [ids[0], ids[2]]);
  assert.equal(transport.prepared.length, 2);
});

test("run() delivers the rest when one message makes the smarthost hang up", async () => {
  const { at, store } = stations();
  const poison = store.put();
  store.put();
  let sent = 0;
  await runWith(at, new ScriptedTransport(() => (sent++ === 0 ? lost : accepted)));
  assert.deepEqual([...store.kept.keys()], [poison]);
  assert.equal(store.kept.get(poison)?.state, "queued");
});

test("run() gives up after three lost connections in a row", async () => {
  const { at, store } = stations();
  for (let n = 0; n < 5; n++) store.put();
  assert.deepEqual(await runWith(at, new ScriptedTransport(() => lost)), {
    tried: 3,
    error: "peer disconnected",
  });
  assert.equal(store.kept.size, 5);
});

test("run() fails one message and ends when the smarthost does not authenticate us", async () => {
  const { at, store } = stations();
  const first = store.put();
  store.put();
  const trouble: Trouble = {
    kind: "authentication",
    connected: true,
    why: "smtp error: authentication failed",
    reply: { code: 535, text: "no" },
  };
  const transport = new ScriptedTransport(
    () => accepted,
    () => trouble,
  );
  assert.equal((await runWith(at, transport)).tried, 1);
  assert.equal(store.kept.get(first)?.state, "bad");
  assert.equal(store.kept.get(first)?.reason?.code, 535);
});

test("run() never sends a message whose content is missing: it fails with the reason", async () => {
  const { at, store } = stations();
  const id = store.put({}, null);
  const transport = new ScriptedTransport();
  await runWith(at, transport);
  assert.equal(transport.sent.length, 0);
  assert.equal(store.kept.get(id)?.reason?.text, "content file missing");
});

test("run() fails a message without remote recipients, connects nowhere, and warns", async () => {
  const { at, store, events } = stations();
  const id = store.put({ toRemote: [], toLocal: ["me"] });
  const transport = new ScriptedTransport();
  await runWith(at, transport);
  assert.equal(transport.prepared.length, 0);
  assert.equal(store.kept.get(id)?.reason?.text, "no remote recipients");
  const notes = events.flatMap((event) => (event.kind === "note" ? [event.text] : []));
  assert.deepEqual(notes, ["failing message with no remote recipients"]);
});

test("run() stops before the next message when asked to stop soon", async () => {
  const { at, store } = stations();
  store.put();
  store.put();
  const soon = new AbortController();
  const transport = new ScriptedTransport(() => {
    soon.abort();
    return accepted;
  });
  await run(at, async () => transport, { soon: soon.signal });
  assert.equal(store.kept.size, 1);
});

test("run() obeys a client filter: abandon leaves the message queued, stop ends the run", async () => {
  const { at, store } = stations({
    openClientFilter: always({ kind: "abandon", next: "stop" }),
  });
  store.put();
  store.put();
  const transport = new ScriptedTransport();
  assert.equal((await runWith(at, transport)).tried, 1);
  assert.equal(transport.sent.length, 0);
  assert.ok([...store.kept.values()].every((one) => one.state === "queued"));
});

test("run() does not wait for the next look over a long queue when somebody asks in person", async () => {
  let ms = 0;
  const waiting = async (_ms: number, signal: AbortSignal) =>
    await new Promise<void>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  const survey = new Survey({ now: () => 0, monotonic: () => ms, sleep: waiting });
  survey.look(1000, () => {
    ms += 100;
  });
  const { at, store } = stations({ survey });
  store.put();
  const signal = new AbortController().signal;
  const openTransport = async () => new ScriptedTransport();
  const current = new Run(at, { openTransport, soon: signal, now: signal, forced: false });
  const result = current.all();
  current.again(false);
  await setImmediate();
  assert.equal(store.kept.size, 1);
  current.again(true);
  assert.equal((await result).tried, 1);
});

test("only who asks in person has the queue looked at anew", async () => {
  for (const forced of [true, false]) {
    const { at, store } = stations();
    store.put();
    const asked: unknown[] = [];
    const ready = store.ready.bind(store);
    Object.assign(store, {
      ready: async (now?: boolean) => {
        asked.push(now);
        return await ready();
      },
    });
    await run(at, async () => new ScriptedTransport(), { forced });
    assert.equal(asked[0], forced);
    assert.ok(asked.slice(1).every((one) => one !== true));
  }
});
