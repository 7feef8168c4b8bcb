import assert from "node:assert/strict";
import { test } from "node:test";
import type { RetryConfig } from "../../src/core/config.ts";
import type { Envelope } from "../../src/core/envelope.ts";
import { RelayError } from "../../src/core/errors.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import type { Report } from "../../src/core/report.ts";
import { retryStateOf } from "../../src/core/retry-state.ts";
import type { Receipt, RejectedRecipient, Smarthost, Trouble } from "../../src/core/transport.ts";
import { Agenda } from "../../src/relay/agenda.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { Retrying } from "../../src/relay/retrying.ts";
import { Run } from "../../src/relay/run.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { run, stations } from "../support/stations.ts";

const MINUTE = 60_000;
const DAY = 86_400_000;
const retry: RetryConfig = { delaysMs: [MINUTE, 10 * MINUTE], expireMs: 5 * DAY };

/** Stations with a clock that only the test moves, which begins when the store's messages come (second 1). */
function house(changes: Partial<Stations> = {}) {
  const made = stations();
  let ms = 2000;
  const clock = {
    now: () => ms,
    monotonic: () => ms,
    sleep: async () => await Promise.reject(new Error("nobody waits here")),
  };
  const agenda = new Agenda({ retry, monotonic: clock.monotonic, random: () => 0.5 });
  const { journal } = made.at;
  const reports: Report[] = [];
  const at: Stations = {
    ...made.at,
    recipients: "some",
    clock,
    retrying: new Retrying({ retry, agenda, journal, now: clock.now }),
    reporter: {
      report: async (report) => {
        reports.push(report);
      },
    },
    ...changes,
  };
  const pass = (time: number) => {
    ms += time;
  };
  const kinds = () => made.events.map(({ kind }) => kind);
  return { ...made, at, agenda, pass, kinds, reports };
}

const temporary = { code: 451, text: "4.3.2 come back" };
const permanent = { code: 550, text: "5.1.1 nobody" };

function refuses(reply: typeof temporary, ended = false): Receipt {
  return { kind: "refused", step: "content", reply, rejected: [], ended };
}

function lost(unknown: boolean): Receipt {
  const trouble: Trouble = {
    kind: "connection",
    connected: true,
    why: "peer disconnected",
    reply: null,
  };
  return { kind: "lost", trouble, unknown };
}

const always = (receipt: Receipt) => new ScriptedTransport(() => receipt);

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

test("mail expires: it is set aside with what was last said, and its sender told", async () => {
  const { at, store, pass, reports } = house();
  const id = store.put();
  pass(6 * DAY);
  await run(at, async () => always(refuses(temporary)));
  assert.equal(store.kept.get(id)?.reason?.text, "delivery time expired: 4.3.2 come back");
  const { status, reply, why } = reports[0]?.recipients[0] ?? assert.fail();
  assert.equal(status, "4.4.7");
  // In the smarthost's own words, and ours beside them.
  assert.deepEqual(reply, temporary);
  assert.equal(why, "delivery time expired: 4.3.2 come back");
});

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

test("mail expires while its smarthost is paused, too", async () => {
  const { at, store, pass } = house();
  const old = store.put();
  const broken = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  await run(at, async () => broken);
  pass(6 * DAY);
  const young = store.put({}, "new\r\n");
  store.kept.get(young);
  await run(at, async () => broken);
  await run(at, async () => broken, { forced: false });
  const states = [...store.kept.values()].map((one) => one.state);
  assert.ok(store.kept.get(old)?.state === "bad" || states.includes("bad"));
});

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

test("a sender is told once of mail that has waited long", async () => {
  const { at, store, pass, reports } = house({ delayWarningSeconds: 4 * 3600 });
  const id = store.put();
  for (let n = 0; n < 5; n++) {
    pass(3 * 3_600_000);
    await run(at, async () => always(refuses(temporary)));
  }
  assert.deepEqual(
    reports.map(({ action }) => action),
    ["delayed"],
  );
  assert.ok((reports[0]?.retriedUntil ?? 0) > 5 * 86_400);
  assert.ok(retryStateOf(store.kept.get(id)?.envelope as Envelope).warned > 0);
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

test("Agenda cuts what only a changed clock can have made so long", () => {
  const agenda = new Agenda({ retry, monotonic: () => 0, random: () => 0 });
  agenda.defer("emailrelay.1.1.1" as MessageId, 365 * DAY);
  assert.ok((agenda.next() ?? 0) <= 67 * MINUTE);
});

test("a message that waits alone expires although its smarthost never answers", async () => {
  const { at, store, pass, agenda } = house();
  const id = store.put();
  const away = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  await run(at, async () => away);
  pass(5 * DAY);
  await run(at, async () => away);
  assert.equal(store.kept.get(id)?.state, "bad");
  assert.match(store.kept.get(id)?.reason?.text ?? "", /^delivery time expired: connect failure/);
  assert.notEqual(agenda.next(), 0);
});

test("a message that is older than any may be, and was never tried, is tried first", async () => {
  const { at, store, pass, agenda } = house();
  pass(30 * DAY);
  const id = store.put();
  const away = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  await run(at, async () => away);
  const second = store.put();
  await run(at, async () => away);
  assert.deepEqual(
    [id, second].map((one) => store.kept.get(one)?.state),
    ["queued", "queued"],
  );
  pass(agenda.next() ?? 0);
  await run(at, async () => new ScriptedTransport());
  assert.equal(store.kept.size, 0);
});

test("a clock that is set back makes nobody wait who has waited", async () => {
  let back = 0;
  const made = house();
  const { clock } = made.at;
  const now = () => clock.now() - back;
  const { agenda } = made;
  const retrying = new Retrying({ retry, agenda, journal: made.at.journal, now });
  const at: Stations = { ...made.at, clock: { ...clock, now }, retrying };
  made.store.put();
  await run(at, async () => always(refuses(temporary)));
  back = 60 * MINUTE;
  made.pass(MINUTE);
  await run(at, async () => new ScriptedTransport());
  assert.equal(made.store.kept.size, 0);
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

test("mail under any other name expires by the time when its content came, and remembers that", async () => {
  const { at, store, pass } = house();
  const id = store.putNamed("letter" as MessageId);
  const refusing = always(refuses(temporary));
  await run(at, async () => refusing);
  const kept = store.kept.get(id) ?? assert.fail();
  assert.equal(retryStateOf(kept.envelope).arrived, 1);
  // As after a filter, or an operator who changes its rights: the content looks new, and nothing has been said of its age.
  kept.changedMs = 5 * DAY;
  pass(5 * DAY - MINUTE);
  await run(at, async () => refusing);
  assert.equal(kept.state, "queued");
  pass(20 * MINUTE);
  await run(at, async () => refusing);
  assert.equal(kept.state, "bad");
  assert.equal(kept.reason?.text, "delivery time expired: 4.3.2 come back");
});

test("mail under any other name expires while its smarthost is away, and its sender is warned before", async () => {
  const { at, store, pass, reports, agenda } = house({ delayWarningSeconds: 4 * 3600 });
  const id = store.putNamed("letter" as MessageId);
  const away = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  await run(at, async () => away);
  pass(5 * 3_600_000);
  await run(at, async () => away);
  assert.deepEqual(
    reports.map(({ action, arrived }) => [action, arrived]),
    [["delayed", 1]],
  );
  pass(5 * DAY);
  await run(at, async () => away);
  assert.equal(store.kept.get(id)?.state, "bad");
  assert.equal(agenda.next() === null || (agenda.next() ?? 0) > 0, true);
});

test("mail that was old before it was put into the spool is not old in it", async () => {
  const { at, store, pass } = house();
  pass(30 * DAY);
  const id = store.putNamed("letter" as MessageId);
  const kept = store.kept.get(id) ?? assert.fail();
  kept.changedMs = 30 * DAY;
  await run(at, async () => always(refuses(temporary)));
  assert.equal(kept.state, "queued");
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
  const { at, store, agenda, kinds } = house();
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
  assert.ok(agenda.pausedFor("smarthost.test:25") !== null);
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

test("the warning to a sender, and the end, do not wait for the next attempt", async () => {
  const { at, store, agenda, pass, reports } = house({ delayWarningSeconds: 300 });
  const id = store.put();
  const refusing = always(refuses(temporary));
  await run(at, async () => refusing);
  pass(MINUTE);
  await run(at, async () => refusing);
  // It came at second 1, and this is second 62.
  assert.equal(agenda.next(), 240_000);
  pass(240_000);
  await run(at, async () => refusing);
  assert.deepEqual(
    reports.map(({ action }) => action),
    ["delayed"],
  );
  assert.equal(agenda.next(), 10 * MINUTE);
  pass(5 * DAY - 10 * MINUTE);
  await run(at, async () => refusing);
  assert.ok((agenda.next() ?? 0) < 6 * MINUTE);
  pass(agenda.next() ?? 0);
  await run(at, async () => refusing);
  assert.equal(store.kept.get(id)?.state, "bad");
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
