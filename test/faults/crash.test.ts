import assert from "node:assert/strict";
import { test } from "node:test";
import { crashRound, KINDS, type Kind } from "../support/crash-round.ts";

/** `npm run test:faults` makes 200 such rounds, with other seeds. */
async function assertNothingLost(seed: number, kind: Kind): Promise<void> {
  const account = await crashRound(seed, kind);
  const { lost, altered, unexplained, left } = account;
  assert.deepEqual({ lost, altered, unexplained }, { lost: [], altered: [], unexplained: [] });
  // A filter may outlive relayd.
  if (kind !== "filter") assert.deepEqual(left, []);
  assert.ok(account.messages > 0 && account.kills > 0);
}

for (const kind of KINDS) {
  test(`no acknowledged message is lost or altered by kill -9: ${kind}`, async () => {
    await assertNothingLost(1, kind);
    await assertNothingLost(2, kind);
  });
}
