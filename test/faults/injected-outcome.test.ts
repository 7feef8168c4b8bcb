import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import {
  contents,
  type ForwardTrouble,
  forwardFailing,
  runOnce,
} from "../support/failing-forward.ts";
import { cannotTrace, ERRORS } from "../support/injected.ts";
import { sendMail, TestRelay } from "../support/relayd.ts";

/** Faults while it is written down what became of a message. */
const skip = await cannotTrace();

const REWRITING: readonly Omit<ForwardTrouble, "told">[] = [
  { calls: ["open"], ending: ".envelope.busy.tmp" },
  { calls: ["write"], ending: ".envelope.busy.tmp" },
  { calls: ["sync"], ending: ".envelope.busy.tmp" },
  { calls: ["rename"], ending: ".envelope.busy.tmp" },
];

function clear(relay: TestRelay): void {
  for (const name of relay.files()) rmSync(join(relay.spool, name));
}

for (const step of REWRITING) {
  test(`${step.calls.join()} of ${step.ending} fails: what was refused is set aside whole, its reason in the log`, {
    skip,
  }, async () => {
    const smarthost = await openCatcher({ mail: () => "550 5.7.1 never" });
    const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
    for (const error of ERRORS) {
      await sendMail(relay.port);
      const before = Object.entries(contents(relay));
      const told = /cannot write failure reason into ".*\.bad"(?:.|\n)*5\.7\.1 never/;
      await forwardFailing(relay, { ...step, told }, error);
      const aside = before.map(([name, bytes]) => [name.replace(/envelope$/, "$&.bad"), bytes]);
      assert.deepEqual(contents(relay), Object.fromEntries(aside), error);
      clear(relay);
    }
    assert.equal(await relay.end(), 0);
  });
}

for (const renames of ["1", "1+"]) {
  test(`rename of .envelope.busy fails (${renames}): what was refused stays, and is set aside later`, {
    skip,
  }, async () => {
    const smarthost = await openCatcher({ mail: () => "550 5.7.1 never" });
    const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
    const told = /cannot forward .*: cannot rename/;
    for (const error of ERRORS) {
      await sendMail(relay.port);
      const before = Object.entries(contents(relay));
      const step = { calls: ["rename"], ending: ".envelope.busy", renames, told } as const;
      await forwardFailing(relay, step, error);
      assert.equal(relay.files().length, 2, error);
      await runOnce(relay);
      const after = contents(relay);
      for (const [name, bytes] of before) {
        const found = after[name.replace(/envelope$/, "$&.bad")] ?? "";
        assert.ok(found.startsWith(bytes), error);
      }
      clear(relay);
    }
    assert.equal(await relay.end(), 0);
  });
}

test("sync of the directory fails after a message was set aside: it is, and the log says why", {
  skip,
}, async () => {
  const smarthost = await openCatcher({ mail: () => "550 5.7.1 never" });
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  const told = /cannot sync the name of ".*\.bad"(?:.|\n)*5\.7\.1 never/;
  for (const error of ERRORS) {
    await sendMail(relay.port);
    await forwardFailing(relay, { calls: ["sync"], ending: "directory", told }, error);
    assert.ok(relay.files().some((name) => name.endsWith(".envelope.bad")));
    assert.equal(relay.files().length, 2);
    clear(relay);
  }
  assert.equal(await relay.end(), 0);
});

for (const step of [...REWRITING, { calls: ["sync"], ending: "directory" } as const]) {
  test(`${step.calls.join()} of ${step.ending} fails with --retry: who has got it is not sent it again`, {
    skip,
  }, async () => {
    const busy: string[] = [];
    const smarthost = await openCatcher({
      rcpt: (line) => (line.includes("carol") ? busy.at(-1) : undefined),
    });
    const relay = await TestRelay.start([`--forward-to=${smarthost.address}`, "--retry=1h"]);
    const to = ["bob@example.net", "carol@example.net"];
    for (const [n, error] of ERRORS.entries()) {
      await sendMail(relay.port, { to });
      busy.push("451 4.2.1 later");
      const told = /cannot record what became of/;
      await forwardFailing(relay, { ...step, told }, error, async () => await runOnce(relay));
      busy.pop();
      await runOnce(relay);
      assert.deepEqual(relay.files(), [], `${error}: ${relay.log}`);
      const sent = smarthost.messages.slice(2 * n).map((one) => one.to.join());
      assert.deepEqual(sent, to, error);
    }
    assert.equal(await relay.end(), 0);
  });
}
