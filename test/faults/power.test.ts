import assert from "node:assert/strict";
import { test } from "node:test";
import { cannotMountImage } from "../support/mounted.ts";
import { present } from "../support/peer.ts";
import { type PowerAccount, type PowerKind, powerRound } from "../support/power-round.ts";

/** `npm run test:faults` makes 30 such rounds, with other seeds and longer. */
const skip = cannotMountImage() || present("python3");

function assertNothingLost({ lost, altered, unexplained, ...rest }: PowerAccount): void {
  assert.deepEqual({ lost, altered, unexplained }, { lost: [], altered: [], unexplained: [] });
  assert.ok(rest.messages > 0 && rest.cuts > 0);
}

const ONE_BY_ONE: readonly PowerKind[] = ["intake", "forwarding", "copy"];
for (const kind of ONE_BY_ONE) {
  test(`no acknowledged message is lost or altered by a power cut: ${kind}`, { skip }, async () => {
    const account = await powerRound({ seed: 1, kind });
    assertNothingLost(account);
    assert.deepEqual(account.left, []);
  });
}

for (const kind of ["intake", "journal, forwarding"] as const) {
  const cannot = present("mkfs.xfs") || cannotMountImage("xfs");
  test(`nor by one on XFS: ${kind}`, { skip: skip || cannot }, async () => {
    assertNothingLost(await powerRound({ seed: 4, kind, fileSystem: "xfs" }));
  });
}

const TOGETHER: readonly PowerKind[] = ["journal", "journal, forwarding", "journal, copy"];
for (const kind of TOGETHER) {
  test(`no acknowledged message is lost or altered by a power cut: ${kind}`, { skip }, async () => {
    const account = await powerRound({ seed: 2, kind });
    assertNothingLost(account);
    assert.ok(account.restored > 0, "the journal was of no use");
  });
}

test("the test of power cuts fails when nothing is synced", { skip }, async () => {
  const { lost } = await powerRound({ seed: 3, kind: "intake", more: ["--no-sync"] });
  assert.ok(lost.length > 0);
});
