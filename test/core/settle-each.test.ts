import assert from "node:assert/strict";
import { test } from "node:test";
import type { Reply } from "../../src/core/reply.ts";
import { settleEach } from "../../src/core/settle-each.ts";
import type { Receipt } from "../../src/core/transport.ts";

function lost(reply: Reply | null): Receipt {
  const why = "smtp error: unexpected response: ok";
  return {
    kind: "lost",
    trouble: { kind: "connection", connected: true, why, reply },
    unknown: false,
  };
}

test("settleEach() tells nobody of a reply that was no refusal", () => {
  const [one] = settleEach(lost({ code: 250, text: "ok" }), ["a@b"]);
  assert.deepEqual(one?.reply, { code: 0, text: "smtp error: unexpected response: ok" });
  const [other] = settleEach(lost({ code: 421, text: "bye" }), ["a@b"]);
  assert.deepEqual(other?.reply, { code: 421, text: "bye" });
});
