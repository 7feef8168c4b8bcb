/** Mail that cannot be routed at the moment. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { OpenFilter, Verdict } from "../../src/core/filter.ts";
import { DAY, house, MINUTE, retry } from "../support/retry-house.ts";
import { ScriptedTransport } from "../support/scripted-transport.ts";
import { run } from "../support/stations.ts";

const WHY = 'dns server 127.0.0.1:53 cannot look up "d.test": SERVFAIL';
const undecided: Verdict = {
  kind: "reject",
  next: "continue",
  reply: { code: 452, text: "cannot route message" },
  detail: WHY,
  temporary: true,
};

/** A house that asks this of a filter that decides where its one message goes. */
function routed(verdict: () => Verdict | Promise<Verdict>) {
  const openRoutingFilter: OpenFilter = () => ({
    run: async () => await verdict(),
    [Symbol.asyncDispose]: async () => undefined,
  });
  const made = house({ openRoutingFilter });
  const id = made.store.put({ forwardTo: "d.test" });
  const transport = new ScriptedTransport();
  return { ...made, id, transport, kept: () => made.store.kept.get(id) };
}

test("mail that cannot be routed at the moment is tried again in its time, and no smarthost is thought worse of", async () => {
  let verdict: Verdict = undecided;
  const { at, kept, agenda, pass, events, kinds, transport } = routed(() => verdict);
  assert.deepEqual(await run(at, async () => transport), { tried: 1, error: null, waiting: 1 });
  assert.equal(kept()?.state, "queued");
  assert.equal(agenda.next(), MINUTE);
  const told = events.find(({ kind }) => kind === "message.deferred");
  assert.ok(told?.kind === "message.deferred" && told.retrySeconds === 60 && !told.unknown);
  assert.equal(told.delivery.text, WHY);
  assert.equal(transport.sent.length, 0);
  assert.ok(!kinds().includes("smarthost.paused"));

  pass(MINUTE);
  await run(at, async () => transport);
  assert.equal(agenda.next(), 10 * MINUTE);
  pass(10 * MINUTE);
  verdict = { kind: "pass", next: "continue" };
  await run(at, async () => transport);
  assert.equal(transport.sent.length, 1);
  assert.equal(kept(), undefined);
});

test("mail that cannot be routed in all its time is set aside, and its sender told why", async () => {
  const { at, kept, pass, reports, transport } = routed(() => undecided);
  await run(at, async () => transport);
  pass(retry.expireMs);
  await run(at, async () => transport);
  assert.equal(kept()?.state, "bad");
  assert.equal(kept()?.reason?.text, `delivery time expired: ${WHY}`);
  assert.equal(reports[0]?.recipients[0]?.why, `delivery time expired: ${WHY}`);
});

test("mail that is older than any may be, and was never asked about, is asked about twice", async () => {
  const { at, kept, pass, agenda, transport } = routed(() => undecided);
  pass(30 * DAY);
  await run(at, async () => transport);
  assert.equal(kept()?.state, "queued");
  assert.equal(agenda.next(), MINUTE);
  pass(MINUTE);
  await run(at, async () => transport);
  assert.equal(kept()?.state, "bad");
  assert.equal(kept()?.reason?.text, `delivery time expired: ${WHY}`);
});

test("mail that cannot be routed for good is set aside at once", async () => {
  const { at, kept, transport } = routed(() => ({ ...undecided, temporary: false }));
  await run(at, async () => transport);
  assert.equal(kept()?.state, "bad");
  assert.equal(kept()?.reason?.text, "routing filter failed");
});

test("without --retry mail that cannot be routed at the moment is set aside too", async () => {
  const made = routed(() => undecided);
  await run({ ...made.at, retrying: null }, async () => made.transport);
  assert.equal(made.kept()?.state, "bad");
  assert.equal(made.kept()?.reason?.text, "routing filter failed");
});
