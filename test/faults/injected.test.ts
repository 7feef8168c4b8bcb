import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import { cannotTrace, type Fault, whileFailing } from "../support/injected.ts";
import { sendMail, TestRelay, until } from "../support/relayd.ts";

const skip = await cannotTrace();

const FULL = /^452 4\.3\.1 insufficient system storage$/;
const TROUBLE = /^451 4\.3\.0 local storage error$/;

interface Trouble {
  readonly calls: Fault["calls"];
  /** Which files; null: the directory itself. */
  readonly ending: ".content" | ".envelope.new" | null;
  readonly errors: readonly string[];
}

const TROUBLES: readonly Trouble[] = [
  {
    calls: ["open"],
    ending: ".content",
    errors: ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EMFILE"],
  },
  {
    calls: ["open"],
    ending: ".envelope.new",
    errors: ["ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE"],
  },
  { calls: ["write"], ending: ".content", errors: ["ENOSPC", "EDQUOT", "EIO", "EFBIG"] },
  { calls: ["write"], ending: ".envelope.new", errors: ["ENOSPC", "EIO"] },
  { calls: ["sync"], ending: ".content", errors: ["ENOSPC", "EIO", "EROFS"] },
  { calls: ["sync"], ending: ".envelope.new", errors: ["ENOSPC", "EIO"] },
  { calls: ["rename"], ending: ".envelope.new", errors: ["ENOSPC", "EIO", "EROFS", "EACCES"] },
  { calls: ["sync"], ending: null, errors: ["EIO", "ENOSPC"] },
];

const OUT_OF_ROOM = ["ENOSPC", "EDQUOT", "EFBIG"];

/** The names of a message that relayd makes in the next seconds. */
function paths(relay: TestRelay, nth: number, ending: string | null): string[] {
  if (ending === null) return [relay.spool];
  const now = Math.floor(Date.now() / 1000);
  return Array.from({ length: 25 }, (_, n) =>
    join(relay.spool, `emailrelay.${relay.child.pid}.${now + n - 1}.${nth}${ending}`),
  );
}

for (const { calls, ending, errors } of TROUBLES) {
  const what = `${calls.join(" and ")} of ${ending ?? "the spool directory"}`;
  test(`${what} fails: a temporary reply, nothing left, and service resumes`, {
    skip,
  }, async () => {
    const relay = await TestRelay.start([]);
    assert.match(await sendMail(relay.port), /^250 /);
    let nth = 1;
    for (const error of errors) {
      const before = relay.files();
      nth += 1;
      const fault = { calls, error, paths: paths(relay, nth, ending) };
      const pid = relay.child.pid ?? 0;
      const { result, struck } = await whileFailing(pid, fault, () => sendMail(relay.port));
      assert.ok(struck > 0, `${error} has not struck`);
      assert.match(result, OUT_OF_ROOM.includes(error) ? FULL : TROUBLE, error);
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
  const fault: Fault = {
    calls: ["sync"],
    error: "EIO",
    paths: [...paths(relay, 2, ".content"), ...paths(relay, 2, ".envelope.new")],
  };
  const { struck } = await whileFailing(relay.child.pid ?? 0, fault, () => sendMail(relay.port));
  assert.equal(struck, 2, "each file once");
});

test("a large message that cannot be written is read to its end and answered 452", {
  skip,
}, async () => {
  const relay = await TestRelay.start([]);
  await sendMail(relay.port);
  const fault: Fault = { calls: ["write"], error: "ENOSPC", paths: paths(relay, 2, ".content") };
  const content = `${"x".repeat(70)}\r\n`.repeat(30_000);
  const { result } = await whileFailing(relay.child.pid ?? 0, fault, () =>
    sendMail(relay.port, { content }),
  );
  assert.match(result, FULL);
  assert.equal(relay.files().length, 2);
});

test("a delivered message that cannot be removed is not sent again, and removed later", {
  skip,
}, async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  await sendMail(relay.port);
  const [content = ""] = relay.files();
  const busy = join(relay.spool, content.replace(".content", ".envelope.busy"));
  const fault: Fault = { calls: ["remove"], error: "EIO", paths: [busy] };
  await whileFailing(relay.child.pid ?? 0, fault, async () => {
    for (let runs = 1; runs <= 3; runs++) {
      relay.child.kill("SIGUSR1");
      await until(() => relay.log.split("forwarding").length > runs);
      await smarthost.caught(1);
    }
    await relay.logged("is delivered, but stays for now");
  });
  relay.child.kill("SIGUSR1");
  await until(() => relay.files().length === 0);
  assert.equal(smarthost.messages.length, 1);
});
