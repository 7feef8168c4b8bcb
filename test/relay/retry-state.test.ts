import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyEnvelope } from "../../src/core/envelope.ts";
import type { MessageId } from "../../src/core/message-id.ts";
import { arrivalOf, retryStateOf, UNTRIED, withRetryState } from "../../src/core/retry-state.ts";

test("withRetryState() and retryStateOf() agree, and other lines stay", () => {
  const state = {
    tries: 3,
    next: 1_795_226_072,
    unknown: 1,
    arrived: 1_795_220_000,
    warned: 1_795_226_000,
    failed: [
      { recipient: "o'neil +x@ü.test", reply: { code: 550, text: "5.1.1 nobody\nhere" } },
      { recipient: "b@x.test", reply: { code: 0, text: "" } },
    ],
  };
  const before = { ...emptyEnvelope, trailer: ["X-MailRelay-Reason: old"] };
  const once = withRetryState(before, ["a@x.test"], state);
  assert.deepEqual(once.toRemote, ["a@x.test"]);
  const [first, second] = state.failed;
  assert.deepEqual(retryStateOf(once), {
    ...state,
    failed: [{ ...first, reply: { code: 550, text: "5.1.1 nobody here" } }, second],
  });
  assert.ok(once.trailer.includes("X-MailRelay-Reason: old"));
  assert.deepEqual(withRetryState(once, ["a@x.test"], UNTRIED).trailer, [
    "X-MailRelay-Reason: old",
  ]);
  assert.ok(once.trailer.every((line) => /^[ -~]*$/.test(line)));
});

test("retryStateOf() takes what is damaged for nothing", () => {
  const trailer = [
    "X-Relayd-Retry: 1 2",
    "X-Relayd-Failed: +zz 550 x",
    "X-Relayd-Warned: soon",
    "X-Relayd-Arrived: -1",
  ];
  assert.deepEqual(retryStateOf({ ...emptyEnvelope, trailer }), UNTRIED);
});

test("arrivalOf() reads the seconds in a message's name", () => {
  assert.equal(arrivalOf("emailrelay.12.1795226072.3" as MessageId), 1_795_226_072);
  assert.equal(arrivalOf("other" as MessageId), null);
});
