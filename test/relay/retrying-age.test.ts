import assert from "node:assert/strict";
import { test } from "node:test";
import type { Envelope } from "../../src/core/envelope.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import { retryStateOf } from "../../src/core/retry-state.ts";
import { Agenda } from "../../src/relay/agenda.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { Retrying } from "../../src/relay/retrying.ts";
import { always, DAY, house, MINUTE, refuses, retry, temporary } from "../support/retry-house.ts";
import { accepted, cannotConnect, ScriptedTransport } from "../support/scripted-transport.ts";
import { run } from "../support/stations.ts";

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
  // RFC 3463 3.1: class 5 would say that it has failed.
  assert.deepEqual(
    reports[0]?.recipients.map(({ status }) => status),
    ["4.0.0"],
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

test("who is named twice is reported once when mail expires, whatever was the matter", async () => {
  const away = new ScriptedTransport(
    () => accepted,
    () => cannotConnect,
  );
  for (const transport of [always(refuses(temporary)), away]) {
    const { at, store, pass, reports } = house();
    const id = store.put({ toRemote: ["a@x.test", "b@x.test", "a@x.test"] });
    await run(at, async () => transport);
    pass(5 * DAY + MINUTE);
    await run(at, async () => transport);
    assert.equal(store.kept.get(id)?.state, "bad");
    assert.deepEqual(
      reports.map(({ recipients }) => recipients.map(({ recipient }) => recipient)),
      [["a@x.test", "b@x.test"]],
    );
  }
});
