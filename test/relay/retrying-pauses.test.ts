import assert from "node:assert/strict";
import { test } from "node:test";
import { retryStateOf } from "../../src/core/retry-state.ts";
import type { Trouble } from "../../src/core/transport.ts";
import { always, house, lost, MINUTE } from "../support/retry-house.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { run } from "../support/stations.ts";

test("the site's own trouble pauses the smarthost, is told once, and fails no mail", async () => {
  for (const kind of ["authentication", "tls", "connection"] as const) {
    const { at, store, agenda, pass, kinds } = house();
    const ids = [store.put(), store.put()];
    const trouble: Trouble = { ...cannotConnect, kind, connected: true, why: `${kind} trouble` };
    const broken = new ScriptedTransport(
      () => accepted,
      () => (kind === "connection" ? cannotConnect : trouble),
    );
    assert.equal((await run(at, async () => broken)).told, true);
    assert.deepEqual(
      ids.map((id) => store.kept.get(id)?.state),
      ["queued", "queued"],
    );
    assert.equal(broken.prepared.length, 1);
    // Asked again before its time, the smarthost is left alone.
    await run(at, async () => broken);
    assert.equal(broken.prepared.length, 1);
    pass(agenda.next() ?? 0);
    await run(at, async () => broken);
    assert.equal(broken.prepared.length, 2);
    assert.equal(kinds().filter((one) => one === "smarthost.paused").length, 1);
    pass(agenda.next() ?? 0);
    await run(at, async () => new ScriptedTransport());
    assert.equal(store.kept.size, 0, kind);
    assert.equal(kinds().filter((one) => one === "smarthost.resumed").length, 1);
  }
});

test("a smarthost that hangs up on three messages in a row is left alone", async () => {
  const { at, store, agenda, kinds } = house();
  for (let n = 0; n < 5; n++) store.put();
  const transport = always(lost(false));
  await run(at, async () => transport);
  assert.equal(transport.sent.length, 3);
  assert.equal(kinds().filter((one) => one === "smarthost.paused").length, 1);
  assert.equal(store.kept.size, 5);
  assert.ok(agenda.next() !== null);
});

test("a smarthost that hangs up on everybody is left alone for longer each time, told of once, and burns few messages", async () => {
  const { at, store, agenda, pass, events } = house();
  const ids = Array.from({ length: 20 }, () => store.put());
  const losing = always(lost(false));
  const pauses: (number | undefined)[] = [];
  for (let n = 0; n < 4; n++) {
    await run(at, async () => losing);
    pauses.push(agenda.pausedFor("smarthost.test:25")?.ms);
    pass(agenda.pausedFor("smarthost.test:25")?.ms ?? 0);
  }
  assert.deepEqual(pauses, [MINUTE, 10 * MINUTE, 10 * MINUTE, 10 * MINUTE]);
  const told = events.filter(({ kind }) => kind === "smarthost.paused");
  assert.equal(told.length, 1);
  const tried = ids.filter(
    (id) => retryStateOf(store.kept.get(id)?.envelope ?? assert.fail()).tries > 0,
  );
  // Three show that it is no message's own trouble; each pause then ends with one.
  assert.equal(tried.length, 6);
  await run(at, async () => new ScriptedTransport());
  pass(10 * MINUTE);
  await run(at, async () => new ScriptedTransport());
  assert.equal(store.kept.size, 0);
  assert.equal(events.filter(({ kind }) => kind === "smarthost.resumed").length, 1);
  for (let n = 0; n < 3; n++) store.put();
  await run(at, async () => losing);
  assert.equal(agenda.pausedFor("smarthost.test:25")?.ms, MINUTE);
});

test("one message that ends each of its sessions holds up no others, however often", async () => {
  const { at, store, agenda, pass } = house();
  const id = store.put({ toRemote: ["poison@x.test"] });
  const transport = new ScriptedTransport(({ toRemote }) =>
    toRemote[0] === "poison@x.test" ? lost(false) : accepted,
  );
  for (let n = 0; n < 5; n++) {
    await run(at, async () => transport, { forced: true });
    assert.equal(agenda.pausedFor("smarthost.test:25"), null);
    pass(MINUTE);
  }
  store.put();
  await run(at, async () => transport, { forced: true });
  assert.deepEqual([...store.kept.keys()], [id]);
});

test("a smarthost that connects and then says nothing, or goodbye, is asked once in each pause", async () => {
  const silent = { ...cannotConnect, connected: true, why: "smtp error: response timeout" };
  const busy = (n: number): Trouble => {
    const reply = { code: 421, text: `too busy, session ${n}` };
    return { kind: "connection", connected: true, why: `smtp error: ${reply.text}`, reply };
  };
  for (const trouble of [() => silent, busy]) {
    const { at, store, agenda, pass, kinds } = house();
    const ids = [store.put(), store.put(), store.put(), store.put()];
    let asked = 0;
    const transport = new ScriptedTransport(
      () => accepted,
      () => trouble(++asked),
    );
    for (let n = 1; n <= 3; n++) {
      await run(at, async () => transport);
      assert.equal(asked, n);
      assert.equal(agenda.pausedFor("smarthost.test:25")?.ms, n === 1 ? MINUTE : 10 * MINUTE);
      pass(10 * MINUTE);
    }
    assert.equal(kinds().filter((one) => one === "smarthost.paused").length, 1);
    for (const id of ids) {
      assert.deepEqual(store.kept.get(id)?.envelope.trailer, []);
    }
  }
});

test("a smarthost that wants us to authenticate, or to encrypt, before MAIL burns no mail", async () => {
  const { at, store, pauseOf, kinds } = house();
  const ids = [store.put(), store.put()];
  const reply = { code: 530, text: "5.7.0 Must issue a STARTTLS command first" };
  for (const step of ["mail", "rcpt"] as const) {
    // Sent in one go with MAIL, the recipients are out of order.
    const refusal = step === "mail" ? { code: 503, text: "need MAIL" } : reply;
    const rejected = [{ recipient: "bob@example.net", reply: refusal }];
    const transport = always({ kind: "refused", step, reply, rejected, ended: false });
    await run(at, async () => transport, { forced: true });
    assert.equal(transport.sent.length, 1, step);
  }
  assert.deepEqual(
    ids.map((id) => store.kept.get(id)?.envelope.trailer),
    [[], []],
  );
  assert.ok(pauseOf("") !== null);
  assert.equal(kinds().filter((one) => one === "smarthost.paused").length, 1);
});

test("whoever asks in person has a paused smarthost asked, and all others' mail left alone when it fails again", async () => {
  const { at, store, agenda } = house();
  for (let n = 0; n < 5; n++) store.put();
  const losing = always(lost(false));
  await run(at, async () => losing);
  assert.equal(losing.sent.length, 3);
  const again = always(lost(false));
  await run(at, async () => again, { forced: true });
  // The three that were lost before, and one more.
  assert.equal(again.sent.length, 4);
  assert.equal(agenda.pausedFor("smarthost.test:25")?.ms, 10 * MINUTE);
});
