import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cannotTrace,
  ERRORS,
  type Fault,
  FULL,
  pathsOf,
  replyTo,
  whileFailing,
} from "../support/injected.ts";
import { sendMail, TestRelay } from "../support/relayd.ts";

/** Faults while mail is received; `injected-forward.test.ts` has those while it is sent on. */
const skip = await cannotTrace();

interface Trouble {
  readonly calls: Fault["calls"];
  /** Which file; null: the directory itself. */
  readonly ending: ".content" | ".envelope.new" | null;
  /** Besides those that every call meets. */
  readonly more?: readonly string[];
  /** Lines of 72 bytes; with many, the content is written while it comes. */
  readonly lines?: number;
}

const TROUBLES: readonly Trouble[] = [
  { calls: ["open"], ending: ".content", more: ["EDQUOT"] },
  { calls: ["open"], ending: ".envelope.new", more: ["EDQUOT"] },
  { calls: ["open"], ending: null },
  { calls: ["write"], ending: ".content", more: ["EDQUOT", "EFBIG"] },
  { calls: ["write"], ending: ".content", lines: 15_000 },
  { calls: ["write"], ending: ".envelope.new", more: ["EDQUOT"] },
  { calls: ["sync"], ending: ".content", more: ["EDQUOT"] },
  { calls: ["sync"], ending: ".envelope.new", more: ["EDQUOT"] },
  { calls: ["rename"], ending: ".envelope.new", more: ["EDQUOT"] },
  { calls: ["sync"], ending: null, more: ["EDQUOT"] },
];

function ofSize(lines: number): string {
  return `Subject: hello\r\n\r\n${`${"x".repeat(70)}\r\n`.repeat(lines)}end`;
}

for (const { calls, ending, more = [], lines = 1 } of TROUBLES) {
  const what = `${calls.join()} of ${ending ?? "the spool directory"}, ${lines} lines`;
  test(`${what} fails: a temporary reply, nothing left, and service resumes`, {
    skip,
  }, async () => {
    const relay = await TestRelay.start([]);
    assert.match(await sendMail(relay.port), /^250 /);
    let nth = 1;
    for (const error of [...ERRORS, ...more]) {
      const before = relay.files();
      nth += 1;
      const paths = ending === null ? [relay.spool] : pathsOf(relay, nth, [ending]);
      const { result, struck } = await whileFailing(
        relay.child.pid ?? 0,
        { calls, error, paths },
        () => sendMail(relay.port, { content: ofSize(lines) }),
      );
      assert.ok(struck > 0, `${error} has not struck`);
      assert.match(result, replyTo(error), error);
      assert.deepEqual(relay.files(), before, error);
      nth += 1;
      assert.match(await sendMail(relay.port), /^250 /, error);
    }
    assert.equal(await relay.end(), 0);
  });
}

test("after a failed sync nothing is synced a second time", { skip }, async () => {
  const relay = await TestRelay.start([]);
  await sendMail(relay.port);
  const paths = pathsOf(relay, 2, [".content", ".envelope.new"]);
  const fault: Fault = { calls: ["sync"], error: "EIO", paths };
  const { struck } = await whileFailing(relay.child.pid ?? 0, fault, () => sendMail(relay.port));
  assert.equal(struck, 2, "each file once");
});

test("a large message that cannot be written is read to its end and answered 452", {
  skip,
}, async () => {
  const relay = await TestRelay.start([]);
  await sendMail(relay.port);
  const fault: Fault = {
    calls: ["write"],
    error: "ENOSPC",
    paths: pathsOf(relay, 2, [".content"]),
  };
  const { result } = await whileFailing(relay.child.pid ?? 0, fault, () =>
    sendMail(relay.port, { content: ofSize(30_000) }),
  );
  assert.match(result, FULL);
  assert.equal(relay.files().length, 2);
});
