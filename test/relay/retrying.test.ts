import assert from "node:assert/strict";
import { test } from "node:test";
import type { Envelope } from "../../src/core/envelope.ts";
import { RelayError } from "../../src/core/errors.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import { retryStateOf } from "../../src/core/retry-state.ts";
import type { RejectedRecipient } from "../../src/core/transport.ts";
import { Agenda } from "../../src/relay/agenda.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { Run } from "../../src/relay/run.ts";
import {
  always,
  DAY,
  house,
  lost,
  MINUTE,
  permanent,
  refuses,
  retry,
  temporary,
} from "../support/retry-house.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { run } from "../support/stations.ts";

test("a temporary refusal is tried again when its time has come, and not before", async () => {
  const { at, store, agenda, pass, events } = house();
  const id = store.put();
  const refusing = always(refuses(temporary));
  assert.deepEqual(await run(at, async () => refusing), { tried: 1, error: null, waiting: 1 });
  assert.equal(store.kept.get(id)?.state, "queued");
  assert.deepEqual(retryStateOf(store.kept.get(id)?.envelope as Envelope), {
    tries: 1,
    next: 62,
    unknown: 0,
    arrived: 0,
    warned: 0,
    failed: [],
  });
  assert.equal(agenda.next(), MINUTE);
  const told = events.find(({ kind }) => kind === "message.deferred");
  assert.ok(told?.kind === "message.deferred" && told.retrySeconds === 60 && !told.unknown);
  const good = new ScriptedTransport();
  assert.equal((await run(at, async () => good)).tried, 0);
  pass(MINUTE);
  assert.equal((await run(at, async () => good)).tried, 1);
  assert.equal(store.kept.size, 0);
  assert.equal(agenda.next(), null);
});

test("the gaps grow, and the last one repeats", async () => {
  const { at, store, agenda, pass } = house();
  store.put();
  const gaps: (number | null)[] = [];
  for (let n = 0; n < 4; n++) {
    await run(at, async () => always(refuses(temporary)));
    gaps.push(agenda.next());
    pass(agenda.next() ?? 0);
  }
  assert.deepEqual(gaps, [MINUTE, 10 * MINUTE, 10 * MINUTE, 10 * MINUTE]);
});

test("whoever asks in person has everything tried at once", async () => {
  const { at, store } = house();
  store.put();
  await run(at, async () => always(refuses(temporary)));
  await run(at, async () => new ScriptedTransport(), { forced: true });
  assert.equal(store.kept.size, 0);
});

test("the schedule survives a restart, in the envelope", async () => {
  const first = house();
  const id = first.store.put();
  await run(first.at, async () => always(refuses(temporary)));
  const envelope = first.store.kept.get(id)?.envelope ?? assert.fail();
  const second = house();
  second.store.put(envelope);
  const transport = new ScriptedTransport();
  assert.equal((await run(second.at, async () => transport)).tried, 0);
  assert.equal(second.agenda.next(), MINUTE);
  second.pass(MINUTE);
  assert.equal((await run(second.at, async () => transport)).tried, 1);
});

test("each recipient has a fate of its own: who has it never gets it again", async () => {
  const { at, store, pass, reports } = house();
  const id = store.put({ toRemote: ["a@x.test", "b@x.test", "c@x.test"] });
  const rejected: RejectedRecipient[] = [
    { recipient: "b@x.test", reply: temporary },
    { recipient: "c@x.test", reply: permanent },
  ];
  await run(at, async () =>
    always({ kind: "accepted", reply: { code: 250, text: "ok" }, rejected }),
  );
  assert.deepEqual(store.kept.get(id)?.envelope.toRemote, ["b@x.test"]);
  assert.deepEqual(
    reports.map(({ action, recipients }) => [action, recipients.map((one) => one.recipient)]),
    [["failed", ["c@x.test"]]],
  );
  assert.equal(reports[0]?.recipients[0]?.status, "5.1.1");
  pass(MINUTE);
  const second = new ScriptedTransport();
  await run(at, async () => second);
  assert.deepEqual(second.sent[0]?.toRemote, ["b@x.test"]);
  // Everybody has been dealt with: it is set aside for the one who never got it.
  assert.deepEqual(store.kept.get(id)?.reason, {
    text: "5.1.1 nobody",
    code: 550,
    recipients: ["c@x.test"],
  });
  assert.deepEqual(store.kept.get(id)?.envelope.trailer, []);
  assert.equal(reports.length, 1);
});

test("a permanent refusal is final at once", async () => {
  const { at, store, reports } = house();
  const id = store.put();
  await run(at, async () => always(refuses(permanent)));
  assert.equal(store.kept.get(id)?.state, "bad");
  assert.equal(store.kept.get(id)?.reason?.code, 550);
  assert.equal(reports.length, 1);
});

test("an answer that was lost after the final dot is remembered, and tried again late", async () => {
  const { at, store, agenda, events } = house();
  const id = store.put();
  await run(at, async () => always(lost(true)));
  assert.equal(retryStateOf(store.kept.get(id)?.envelope as Envelope).unknown, 1);
  assert.equal(agenda.next(), 60 * MINUTE);
  assert.ok(events.some((event) => event.kind === "message.deferred" && event.unknown));
});

test("a connection lost before the end is tried again soon", async () => {
  const { at, store, agenda } = house();
  store.put();
  await run(at, async () => always(lost(false)));
  assert.equal(agenda.next(), MINUTE);
});

test("Agenda forgets what is not in the queue when its time has come, and not while others have it in hand", () => {
  let now = 0;
  const agenda = new Agenda({ retry, monotonic: () => now, random: () => 0 });
  const [gone, there] = ["emailrelay.1.1.1" as MessageId, "emailrelay.1.1.2" as MessageId];
  agenda.defer(gone, 5000);
  agenda.defer(there, 50_000);
  // Put off by a run that still holds it, as the one that looks does not know.
  agenda.keep([there], new Set());
  assert.equal(agenda.next(), 5000);
  now = 5000;
  agenda.keep([there], new Set([gone]));
  assert.equal(agenda.next(), 0);
  agenda.keep([there], new Set());
  assert.equal(agenda.next(), 45_000);
});

test("a run that a fault or a filter ends leaves nothing that nobody looks at again", async () => {
  const stop: Stations["openClientFilter"] = () => ({
    run: async () => ({ kind: "abandon", next: "stop" }),
    [Symbol.asyncDispose]: async () => undefined,
  });
  const stopped = house({ openClientFilter: stop });
  for (let n = 0; n < 3; n++) stopped.store.put();
  await run(stopped.at, async () => new ScriptedTransport());
  assert.equal(stopped.agenda.next(), MINUTE);
  const broken = house();
  broken.store.ready = async () => await Promise.reject(new Error("no such directory"));
  await assert.rejects(
    run(broken.at, async () => new ScriptedTransport()),
    /no such directory/,
  );
  assert.equal(broken.agenda.next(), MINUTE);
});

test("who has a message never gets it again, though the spool could not be written to when it was noted", async () => {
  const { at, store, pass } = house();
  const id = store.put({ toRemote: ["a@x.test", "b@x.test"] });
  const rejected: RejectedRecipient[] = [{ recipient: "b@x.test", reply: temporary }];
  store.trouble = { on: "rewrite", error: new RelayError("SPOOL_FULL", "x", "no space") };
  const first = always({ kind: "accepted", reply: { code: 250, text: "ok" }, rejected });
  await run(at, async () => first);
  assert.deepEqual(store.kept.get(id)?.envelope.toRemote, ["a@x.test", "b@x.test"]);
  const second = new ScriptedTransport();
  pass(MINUTE);
  await run(at, async () => second);
  assert.deepEqual(second.sent, []);
  store.trouble = null;
  pass(MINUTE);
  await run(at, async () => second);
  assert.deepEqual(
    second.sent.map(({ toRemote }) => toRemote),
    [["b@x.test"]],
  );
  assert.equal(store.kept.size, 0);
});

test("a spool that cannot be written to has nobody warned twice, and sets aside what failed", async () => {
  const { at, store, pass, reports } = house({ delayWarningSeconds: 3600 });
  const id = store.put();
  store.trouble = { on: "rewrite", error: new RelayError("SPOOL_IO", "x", "i/o error") };
  pass(3_600_000);
  await run(at, async () => always(refuses(temporary)));
  for (let n = 0; n < 3; n++) {
    pass(MINUTE);
    await run(at, async () => always(refuses(temporary)));
  }
  store.trouble = null;
  pass(MINUTE);
  await run(at, async () => always(refuses(temporary)));
  store.trouble = { on: "rewrite", error: new RelayError("SPOOL_IO", "x", "i/o error") };
  pass(10 * MINUTE);
  await run(at, async () => always(refuses(permanent)));
  assert.equal(store.kept.get(id)?.state, "bad");
  assert.deepEqual(
    reports.map(({ action }) => action),
    ["delayed", "failed"],
  );
});

test("a run that always has new mail keeps in mind only what is there", async (t) => {
  const { at, store, agenda } = house();
  const keep = t.mock.method(agenda, "keep");
  let left = 200;
  const transport = new ScriptedTransport(() => {
    left -= 1;
    if (left > 0) store.put();
    current.again();
    return left % 50 === 0 ? refuses(temporary) : accepted;
  });
  store.put();
  const signal = new AbortController().signal;
  const current = new Run(at, {
    openTransport: async () => transport,
    soon: signal,
    now: signal,
    forced: false,
  });
  await current.all();
  assert.equal(transport.sent.length, 200);
  assert.equal(store.kept.size, 4);
  const sizes = keep.mock.calls.map(({ arguments: [, held] }) => held.size);
  assert.ok(sizes.length > 100 && Math.max(...sizes) < 5, `${Math.max(...sizes)}`);
});

test("a message that cannot be read when its time has come is looked at again later, not all the time", async () => {
  const { at, store, agenda, pass } = house();
  const id = store.put();
  await run(at, async () => always(refuses(temporary)));
  pass(MINUTE);
  const lease = store.lease.bind(store);
  store.lease = async () => null;
  await run(at, async () => new ScriptedTransport());
  assert.equal(agenda.next(), 5 * MINUTE);
  store.lease = lease;
  pass(5 * MINUTE);
  await run(at, async () => new ScriptedTransport());
  assert.equal(store.kept.has(id), false);
});

test("what a filter refuses at last is set aside for those, too, who were refused before", async () => {
  const { at, store, pass, reports } = house();
  const id = store.put({ toRemote: ["never@x", "later@x"] });
  const rejected = [
    { recipient: "never@x", reply: permanent },
    { recipient: "later@x", reply: temporary },
  ];
  await run(at, async () =>
    always({ kind: "refused", step: "rcpt", reply: temporary, rejected, ended: false }),
  );
  pass(MINUTE);
  const openClientFilter: Stations["openClientFilter"] = () => ({
    run: async () => ({
      kind: "reject",
      reply: { code: 550, text: "rejected" },
      detail: "virus",
      next: "continue",
    }),
    [Symbol.asyncDispose]: async () => undefined,
  });
  await run({ ...at, openClientFilter }, async () => new ScriptedTransport());
  const kept = store.kept.get(id) ?? assert.fail();
  assert.equal(kept.state, "bad");
  assert.deepEqual(kept.reason, {
    text: "<never@x>: 5.1.1 nobody\n<later@x>: virus",
    code: 550,
    recipients: ["never@x", "later@x"],
  });
  assert.deepEqual(kept.envelope.trailer, []);
  // Each was reported once.
  assert.deepEqual(
    reports.map(({ recipients }) => recipients.map(({ recipient }) => recipient)),
    [["never@x"], ["later@x"]],
  );
});

test("a smarthost that takes a few recipients at a time gets the others soon, however many there are", async () => {
  const { at, store, agenda, pass } = house();
  const to = Array.from({ length: 7 }, (_, n) => `r${n}@x.test`);
  store.put({ toRemote: to });
  const reply = { code: 552, text: "5.5.3 Too many recipients" };
  const transport = new ScriptedTransport(({ toRemote }) => ({
    kind: "accepted",
    reply: { code: 250, text: "ok" },
    rejected: toRemote.slice(2).map((recipient) => ({ recipient, reply })),
  }));
  for (let n = 0; n < 3; n++) {
    await run(at, async () => transport);
    assert.equal(agenda.next(), MINUTE);
    pass(MINUTE);
  }
  await run(at, async () => transport);
  assert.equal(store.kept.size, 0);
  assert.deepEqual(
    transport.sent.map(({ toRemote }) => toRemote.length),
    [7, 5, 3, 1],
  );
});

test("what had failed and was put back in the queue is tried for as long as anything new", async () => {
  const away = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  const failing: readonly [ScriptedTransport, RegExp][] = [
    [always(refuses(temporary)), /^delivery time expired: 4\.3\.2 come back/],
    [away, /^delivery time expired: connect failure/],
  ];
  for (const [transport, reason] of failing) {
    const { at, store, pass, reports, agenda } = house({ delayWarningSeconds: 4 * 3600 });
    pass(30 * DAY);
    const id = store.put({
      trailer: ["X-MailRelay-Reason: nobody", "X-MailRelay-ReasonCode: 550"],
    });
    const kept = store.kept.get(id) ?? assert.fail();
    await run(at, async () => transport);
    assert.equal(retryStateOf(kept.envelope).arrived, 30 * 86_400 + 2);
    pass(4 * DAY);
    await run(at, async () => transport);
    assert.equal(kept.state, "queued");
    // Its report has the time when it came first.
    assert.deepEqual(
      reports.map(({ action, arrived }) => [action, arrived]),
      [["delayed", 1]],
    );
    pass(DAY + MINUTE);
    await run(at, async () => transport);
    assert.equal(kept.state, "bad");
    assert.match(kept.reason?.text ?? "", reason);
    assert.equal(agenda.next() === 0, false);
  }
});
