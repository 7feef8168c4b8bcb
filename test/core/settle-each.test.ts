import assert from "node:assert/strict";
import { test } from "node:test";
import type { Reply } from "../../src/core/reply.ts";
import { settleEach } from "../../src/core/settle-each.ts";
import type { Receipt, RejectedRecipient, Trouble } from "../../src/core/transport.ts";

const nobody = { code: 550, text: "5.1.1 nobody" };
const later = { code: 451, text: "4.3.2 come back" };
const bye = { code: 421, text: "bye" };

function lost(reply: Reply, rejected?: readonly RejectedRecipient[]): Receipt {
  const why = `smtp error: unexpected response: ${reply.text}`;
  const trouble: Trouble = { kind: "connection", connected: true, why, reply };
  return {
    kind: "lost",
    trouble,
    unknown: false,
    ...(rejected === undefined ? {} : { rejected }),
  };
}

test("settleEach() tells nobody of a reply that was no refusal", () => {
  const [one] = settleEach(lost({ code: 250, text: "ok" }), ["a@b"], "some");
  assert.deepEqual(one?.reply, { code: 0, text: "smtp error: unexpected response: ok" });
  const [other] = settleEach(lost(bye), ["a@b"], "some");
  assert.deepEqual(other?.reply, bye);
});

test("settleEach() keeps what was refused before the connection was lost, and puts off the others", () => {
  const rejected = [
    { recipient: "a@b", reply: nobody },
    { recipient: "c@d", reply: later },
    { recipient: "e@f", reply: { code: 552, text: "5.5.3 too many recipients" } },
  ];
  const settled = settleEach(lost(bye, rejected), ["a@b", "c@d", "e@f", "g@h"], "some");
  assert.deepEqual(
    settled.map(({ recipient, kind, reply, step }) => [recipient, kind, reply.code, step]),
    [
      ["a@b", "failed", 550, "rcpt"],
      ["c@d", "deferred", 451, "rcpt"],
      ["e@f", "deferred", 552, "rcpt"],
      ["g@h", "deferred", 421, null],
    ],
  );
});

test("settleEach() of a message for all or none fails for all when one was refused before the connection was lost", () => {
  const rejected = [{ recipient: "a@b", reply: nobody }];
  const [one, other] = settleEach(lost(bye, rejected), ["a@b", "c@d"], "all");
  assert.deepEqual([one?.kind, one?.reply], ["failed", nobody]);
  const text = "not sent, since another recipient was refused: 5.1.1 nobody";
  assert.deepEqual([other?.kind, other?.reply], ["failed", { code: 0, text }]);
});

test("settleEach() of a message for all or none puts off all while none was refused for good", () => {
  const rejected = [{ recipient: "a@b", reply: later }];
  const settled = settleEach(lost(bye, rejected), ["a@b", "c@d"], "all");
  assert.deepEqual(
    settled.map(({ kind }) => kind),
    ["deferred", "deferred"],
  );
});

test("settleEach() has one outcome for who is named twice", () => {
  const accepted: Receipt = {
    kind: "accepted",
    reply: { code: 250, text: "ok" },
    rejected: [{ recipient: "a@b", reply: later }],
  };
  assert.deepEqual(
    settleEach(accepted, ["a@b", "c@d", "a@b"], "some").map(({ recipient, kind }) => [
      recipient,
      kind,
    ]),
    [
      ["a@b", "deferred"],
      ["c@d", "delivered"],
    ],
  );
});

test("settleEach() fails for good, without a step, who was refused by us", () => {
  const ours = { code: 0, text: "5.1.3 cannot send to an invalid address" };
  const rejected = [{ recipient: "a b", reply: ours }];
  const accepted: Receipt = { kind: "accepted", reply: { code: 250, text: "ok" }, rejected };
  for (const receipt of [accepted, lost(bye, rejected)]) {
    const [one] = settleEach(receipt, ["a b", "c@d"], "some");
    assert.deepEqual(one, { recipient: "a b", kind: "failed", reply: ours, step: null });
  }
});
