/** Messages that somebody removes while they are tried: nothing is to be remembered of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, RelayError } from "../../src/core/errors.ts";
import { always, house, MINUTE, refuses, temporary } from "../support/retry-house.ts";
import { ScriptedTransport } from "../support/scripted-transport.ts";
import { run } from "../support/stations.ts";

function failing(code: ErrorCode) {
  const made = house();
  const id = made.store.put();
  const fails = (code: ErrorCode) => {
    made.store.trouble = { on: "rewrite", error: new RelayError(code, id, "cannot write") };
  };
  fails(code);
  const owes = () => made.at.retrying?.notes.owes(id);
  const errors = () =>
    made.events.flatMap((event) =>
      event.kind === "note" && event.level === "error" ? [event.text] : [],
    );
  return { ...made, id, fails, owes, errors };
}

test("what became of a message that was removed during its attempt is forgotten, and no error", async () => {
  const { at, owes, errors } = failing("MESSAGE_REMOVED");
  await run(at, async () => always(refuses(temporary)));
  assert.equal(owes(), false);
  assert.deepEqual(errors(), []);
});

test("what became of a message is kept in mind while it cannot be written", async () => {
  const { at, id, owes, errors } = failing("SPOOL_IO");
  await run(at, async () => always(refuses(temporary)));
  assert.equal(owes(), true);
  assert.deepEqual(errors(), [`cannot record what became of ${id}: cannot write`]);
});

test("what was to be written before an attempt is forgotten when the message was removed, and it is not sent", async () => {
  const { at, pass, fails, owes } = failing("SPOOL_IO");
  await run(at, async () => always(refuses(temporary)));
  fails("MESSAGE_REMOVED");
  pass(MINUTE);
  const good = new ScriptedTransport();
  await run(at, async () => good);
  assert.deepEqual(good.sent, []);
  assert.equal(owes(), false);
});
