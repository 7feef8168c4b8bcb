/** What is done for a message with very many recipients grows with their number, not with its square. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import { retryStateOf } from "../../src/core/retry-state.ts";
import { settleEach } from "../../src/core/settle-each.ts";
import { setAsideAll } from "../../src/relay/conclude-each.ts";
import { counted } from "../support/counted.ts";
import { always, house, permanent } from "../support/retry-house.ts";
import { run } from "../support/stations.ts";

const MANY = 3000;
/** Reads of each: a square would be thousands. */
const A_FEW = 10;

function people(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `user${n}@example.net`);
}

function refusing(recipients: readonly string[]) {
  return recipients.map((recipient) => ({ recipient, reply: permanent }));
}

test("settleEach() looks at each refusal a few times, however many there are", () => {
  const recipients = people(MANY);
  const { items: rejected, reads } = counted(refusing(recipients));
  const accepted = { kind: "accepted", reply: { code: 250, text: "ok" }, rejected } as const;
  const refused = { kind: "refused", step: "rcpt", reply: permanent, rejected } as const;
  for (const receipt of [accepted, { ...refused, ended: false }]) {
    assert.ok(settleEach(receipt, recipients, "some").every(({ kind }) => kind === "failed"));
  }
  assert.ok(reads() <= A_FEW * MANY, `${reads()} reads`);
});

test("settleEach() goes by the first refusal of a recipient that was said twice", () => {
  const later = { code: 451, text: "later" };
  const rejected = [...refusing(["a@x.test"]), { recipient: "a@x.test", reply: later }];
  const receipt = { kind: "accepted", reply: { code: 250, text: "ok" }, rejected } as const;
  const outcomes = settleEach(receipt, ["a@x.test", "a@x.test"], "some");
  assert.deepEqual(
    outcomes.map(({ reply }) => reply),
    [permanent],
  );
});

test("setAsideAll() looks at each recipient a few times, however many there are", async () => {
  const { at, store } = house();
  const toRemote = people(MANY);
  const id = store.put({ toRemote });
  const lease = await store.lease(id);
  assert.ok(lease !== null && at.retrying !== null);
  const { items: recipients, reads } = counted(toRemote);
  await setAsideAll(at.retrying, lease, { text: "nobody", code: 550, recipients });
  assert.equal(store.kept.get(id)?.state, "bad");
  assert.ok(reads() <= A_FEW * MANY, `${reads()} reads`);
});

test("retryStateOf() reads hundreds of thousands of refusals in the time of one test", () => {
  const trailer = people(300_000).map((one) => `X-Relayd-Failed: ${one} 550 nobody`);
  assert.equal(retryStateOf({ ...emptyEnvelope, trailer }).failed.length, trailer.length);
});

test("a message is set aside for more recipients than a function takes arguments", async () => {
  const { at, store } = house();
  const toRemote = people(300_000);
  const id = store.put({ toRemote });
  const rejected = refusing(toRemote);
  await run(at, async () =>
    always({ kind: "refused", step: "rcpt", reply: permanent, rejected, ended: false }),
  );
  assert.equal(store.kept.get(id)?.state, "bad");
  assert.equal(store.kept.get(id)?.reason?.code, 550);
});
