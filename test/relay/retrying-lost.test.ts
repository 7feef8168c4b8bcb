/** What was said about recipients before the connection was lost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { retryStateOf } from "../../src/core/retry-state.ts";
import type { Receipt } from "../../src/core/transport.ts";
import { always, house, MINUTE, permanent } from "../support/retry-house.ts";
import { ScriptedTransport } from "../support/scripted-transport.ts";
import { run, stations } from "../support/stations.ts";

const reply = { code: 421, text: "4.7.0 too many errors" };

function hungUp(rejected: Extract<Receipt, { kind: "lost" }>["rejected"] = []): Receipt {
  const why = `smtp error: unexpected response: ${reply.text}`;
  const trouble = { kind: "connection", connected: true, why, reply } as const;
  return { kind: "lost", trouble, unknown: false, rejected };
}

const afterTwo = hungUp([
  { recipient: "bad1@x.test", reply: permanent },
  { recipient: "bad2@x.test", reply: permanent },
]);

test("recipients that were refused before the smarthost hung up are reported at once, and not asked about again", async () => {
  const { at, store, pass, reports } = house();
  const id = store.put({ toRemote: ["bad1@x.test", "bad2@x.test", "good@x.test"] });
  await run(at, async () => always(afterTwo));
  const kept = store.kept.get(id) ?? assert.fail();
  assert.equal(kept.state, "queued");
  assert.deepEqual(kept.envelope.toRemote, ["good@x.test"]);
  assert.deepEqual(
    retryStateOf(kept.envelope).failed.map(({ recipient }) => recipient),
    ["bad1@x.test", "bad2@x.test"],
  );
  assert.deepEqual(
    reports.map(({ action, recipients }) => [action, recipients.map((one) => one.reply?.code)]),
    [["failed", [550, 550]]],
  );
  pass(MINUTE);
  const second = new ScriptedTransport();
  await run(at, async () => second);
  assert.deepEqual(second.sent[0]?.toRemote, ["good@x.test"]);
  assert.deepEqual(kept.reason, {
    text: "5.1.1 nobody",
    code: 550,
    recipients: ["bad1@x.test", "bad2@x.test"],
  });
});

test("a smarthost that wants a password first, and then hangs up, has refused nobody", async () => {
  const { at, store, pauseOf, reports } = house();
  const id = store.put({ toRemote: ["a@x.test", "b@x.test"] });
  const wanted = { code: 530, text: "5.7.0 authentication required" };
  await run(at, async () => always(hungUp([{ recipient: "a@x.test", reply: wanted }])));
  assert.equal(store.kept.get(id)?.state, "queued");
  assert.deepEqual(store.kept.get(id)?.envelope.toRemote, ["a@x.test", "b@x.test"]);
  assert.deepEqual(reports, []);
  assert.equal(pauseOf("")?.why, wanted.text);
});

test("without --retry a lost connection leaves the message as it was, whoever was refused before", async () => {
  for (const recipients of ["all", "some"] as const) {
    const { at, store } = stations({ recipients });
    const id = store.put({ toRemote: ["bad1@x.test", "bad2@x.test", "good@x.test"] });
    await run(at, async () => always(afterTwo));
    assert.equal(store.kept.get(id)?.state, "queued");
    assert.equal(store.kept.get(id)?.envelope.toRemote.length, 3);
  }
});
