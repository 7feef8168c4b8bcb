/** What waits for a directory that never comes back costs next to nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { newMessageId } from "../../src/core/message-id.ts";
import type { Disk } from "../../src/io/disk.ts";
import { Delivered } from "../../src/spool/delivered.ts";
import { GivenUp } from "../../src/spool/given-up.ts";
import { SpoolPlace } from "../../src/spool/place.ts";
import { CrashingDisk } from "../support/crashing-disk.ts";
import { disks } from "../support/journal-bench.ts";
import { shortClock } from "../support/short-clock.ts";

const HOUR = 3_600_000;
const ID = newMessageId(7, 1, 1);

/** A directory that is `at.inode`, at a time that is `at.ms`; `calls`: of files in it. */
function absence() {
  const at = { inode: 1, ms: 0 };
  const whole = disks(new CrashingDisk());
  const calls = { count: 0 };
  const disk: Disk = {
    ...whole,
    stat: (name) => {
      const facts = whole.stat(name);
      if (name === ".") return facts === null ? null : { ...facts, inode: at.inode };
      calls.count += 1;
      return facts;
    },
    remove: (name) => {
      calls.count += 1;
      whole.remove(name);
    },
  };
  const clock = { ...shortClock, monotonic: () => at.ms };
  return { at, disk, clock, place: new SpoolPlace(disk), calls };
}

/** How often it is tried at 1000 occasions within so many milliseconds. */
function triesIn(ms: number, { at, calls }: ReturnType<typeof absence>, act: () => void): number {
  let tries = 0;
  for (let n = 0; n < 1000; n++) {
    at.ms += ms / 1000;
    calls.count = 0;
    act();
    if (calls.count > 0) tries += 1;
  }
  return tries;
}

const WAITING: readonly [string, (house: ReturnType<typeof absence>) => () => void][] = [
  [
    "a lease that was given up",
    ({ at, disk, place, clock }) => {
      const givenUp = new GivenUp(disk, place, clock);
      givenUp.add(ID);
      at.inode = 2;
      return () => assert.equal(givenUp.isDue(), false);
    },
  ],
  [
    "a message that was delivered",
    ({ at, disk, place, clock }) => {
      const delivered = new Delivered({ disk, place, clock, removed: assert.fail });
      delivered.add(ID);
      at.inode = 2;
      return () => delivered.remove();
    },
  ],
];

for (const [what, wait] of WAITING) {
  test(`${what} in a directory that is away is looked for each time, then ever more seldom`, () => {
    const house = absence();
    const act = wait(house);
    assert.equal(triesIn(4000, house, act), 1000);
    house.at.ms = 10_000;
    assert.ok(triesIn(1000, house, act) <= 2);
    house.at.ms = HOUR;
    const tries = triesIn(HOUR, house, act);
    assert.ok(tries > 50 && tries <= 61, `${tries}`);
  });
}

test("a lease that is found in another directory is due there, and forgotten where it is not", () => {
  const { at, disk, place, clock } = absence();
  const givenUp = new GivenUp(disk, place, clock);
  givenUp.add(ID);
  at.inode = 2;
  givenUp.settle(() => true);
  assert.ok(givenUp.has(ID) && !givenUp.isHere(ID) && !givenUp.isDue());
  disk.create(`${ID}.envelope.busy`).close();
  assert.ok(givenUp.isDue());
  at.inode = 1;
  assert.ok(givenUp.isHere(ID) && givenUp.isDue());
  givenUp.settle(() => true);
  assert.ok(!givenUp.has(ID) && !givenUp.isDue());
});

test("a lease whose directory comes back is due at once, however long it was away", () => {
  const { at, disk, place, clock } = absence();
  const givenUp = new GivenUp(disk, place, clock);
  givenUp.add(ID);
  at.inode = 2;
  at.ms = HOUR;
  assert.ok(!givenUp.isDue());
  at.inode = 1;
  assert.ok(givenUp.isDue());
  assert.ok(!givenUp.isDue());
});

test("nothing is forgotten when the directory goes while locks are looked for", () => {
  const { at, disk, place, clock } = absence();
  const givenUp = new GivenUp(disk, place, clock);
  givenUp.add(ID);
  givenUp.settle(() => {
    at.inode = 2;
    return true;
  });
  assert.ok(givenUp.has(ID));
});

test("only so many leases are remembered", () => {
  const { disk, place, clock } = absence();
  const givenUp = new GivenUp(disk, place, clock);
  for (let n = 1; n <= 1001; n++) givenUp.add(newMessageId(7, 1, n));
  assert.ok(!givenUp.has(newMessageId(7, 1, 1)));
  assert.ok(givenUp.has(newMessageId(7, 1, 2)) && givenUp.has(newMessageId(7, 1, 1001)));
});
