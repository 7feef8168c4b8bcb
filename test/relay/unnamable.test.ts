/** Recipients that we cannot name to any smarthost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Receipt } from "../../src/core/transport.ts";
import { always, house, permanent, temporary } from "../support/retry-house.ts";
import { run, stations } from "../support/stations.ts";

const ODD = "a<b@x.test";
const ours = {
  recipient: ODD,
  reply: { code: 0, text: "5.1.3 cannot send to an invalid address" },
};
const taken: Receipt = { kind: "accepted", reply: { code: 250, text: "ok" }, rejected: [ours] };

test("who cannot be named is reported at once, in our words, and the others get the message", async () => {
  const { at, store, reports, kinds } = house();
  const id = store.put({ toRemote: [ODD, "good@x.test"] });
  await run(at, async () => always(taken));
  const kept = store.kept.get(id) ?? assert.fail();
  assert.deepEqual(kept.reason, { text: ours.reply.text, code: 0, recipients: [ODD] });
  assert.ok(kinds().includes("message.delivered"));
  assert.deepEqual(
    reports.map(({ recipients }) =>
      recipients.map(({ recipient, reply, status }) => [recipient, reply, status]),
    ),
    [[[ODD, null, "5.1.3"]]],
  );
});

test("without --retry the message is set aside for who cannot be named, alone", async () => {
  const { at, store } = stations({ recipients: "some" });
  const id = store.put({ toRemote: [ODD, "good@x.test"] });
  await run(at, async () => always(taken));
  const text = "one or more recipients rejected";
  assert.deepEqual(store.kept.get(id)?.reason, { text, code: 0, recipients: [ODD] });
});

test("what a smarthost has refused for good goes before our words, and those before what it puts off", async () => {
  const refusals = [
    { reply: permanent, code: 550 },
    { reply: temporary, code: 0 },
  ];
  for (const { reply, code } of refusals) {
    const { at, store } = stations({ recipients: "some" });
    const id = store.put({ toRemote: ["no@x.test", ODD, "good@x.test"] });
    const rejected = [{ recipient: "no@x.test", reply }, ours];
    await run(at, async () => always({ ...taken, rejected }));
    assert.equal(store.kept.get(id)?.reason?.code, code);
  }
});

test("a smarthost that wants a password has refused nobody, whoever could not be named", async () => {
  const { at, store, reports, pauseOf } = house();
  const id = store.put({ toRemote: [ODD, "good@x.test"] });
  const reply = { code: 530, text: "5.7.0 authentication required" };
  const rejected = [{ recipient: "good@x.test", reply }, ours];
  await run(at, async () =>
    always({ kind: "refused", step: "rcpt", reply, rejected, ended: false }),
  );
  assert.equal(store.kept.get(id)?.state, "queued");
  assert.deepEqual(reports, []);
  assert.equal(pauseOf("")?.why, reply.text);
});
