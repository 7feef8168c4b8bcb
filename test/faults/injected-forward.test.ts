import assert from "node:assert/strict";
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCatcher } from "../support/catcher.ts";
import {
  contents,
  type ForwardTrouble,
  forwardFailing,
  leaveMail,
  runOnce,
} from "../support/failing-forward.ts";
import { cannotTrace, ERRORS } from "../support/injected.ts";
import { sendMail, TestRelay, until } from "../support/relayd.ts";

/** Faults while mail is sent on: nothing is lost, altered, or sent twice. */
const skip = await cannotTrace();

const BEFORE: readonly ForwardTrouble[] = [
  { calls: ["open"], ending: ".content", told: /cannot forward .*: cannot open/ },
  { calls: ["open"], ending: ".envelope.busy", told: /cannot read/ },
  { calls: ["rename"], ending: ".envelope", told: /forwarding: cannot lock/ },
];

for (const trouble of BEFORE) {
  test(`${trouble.calls.join()} of ${trouble.ending} fails: it stays as it was, and is sent later`, {
    skip,
  }, async () => {
    const smarthost = await openCatcher();
    const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
    for (const [n, error] of ERRORS.entries()) {
      await leaveMail(relay, error);
      const before = contents(relay);
      await forwardFailing(relay, trouble, error);
      assert.deepEqual(contents(relay), before, error);
      assert.equal(smarthost.messages.length, n, error);
      await runOnce(relay);
      assert.deepEqual(relay.files(), [], error);
    }
    const subjects = smarthost.messages.map(({ content }) => /Subject: (\S+)/.exec(content)?.[1]);
    assert.deepEqual(subjects, ERRORS);
    assert.equal(await relay.end(), 0);
  });
}

const AFTER: readonly ForwardTrouble[] = [
  { calls: ["remove"], ending: ".envelope.busy", told: /is delivered, but stays for now/ },
  { calls: ["remove"], ending: ".content", told: /cannot delete ".*\.content"/ },
];

for (const trouble of AFTER) {
  test(`unlink of ${trouble.ending} fails after delivery: it is not sent again, and removed later`, {
    skip,
  }, async () => {
    const smarthost = await openCatcher();
    const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
    for (const [n, error] of ERRORS.entries()) {
      await sendMail(relay.port);
      await forwardFailing(relay, trouble, error, async () => {
        await runOnce(relay);
        assert.notDeepEqual(relay.files(), [], error);
      });
      await runOnce(relay);
      assert.deepEqual(relay.files(), [], error);
      assert.equal(smarthost.messages.length, n + 1, error);
    }
    assert.equal(await relay.end(), 0);
  });
}

const BACK: readonly ForwardTrouble[] = [
  { calls: ["rename"], ending: ".envelope.busy", told: /cannot put back/ },
  { calls: ["open", "rename"], ending: ".envelope.busy", told: /cannot put back/ },
];

for (const trouble of BACK) {
  test(`${trouble.calls.join(" and ")} of .envelope.busy fail: what cannot be put back is put back later`, {
    skip,
  }, async () => {
    const away: string[] = [];
    const smarthost = await openCatcher({ mail: () => away.at(-1) });
    const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
    for (const [n, error] of ERRORS.entries()) {
      await leaveMail(relay, error);
      away.push("close");
      await forwardFailing(relay, trouble, error, async () => await runOnce(relay));
      away.pop();
      await runOnce(relay);
      assert.deepEqual(relay.files(), [], `${error}: ${relay.log}`);
      assert.equal(smarthost.messages.length, n + 1, error);
    }
    assert.equal(await relay.end(), 0);
  });
}

test("a message that cannot be locked holds up no other", async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`]);
  await leaveMail(relay, "first");
  const [name = ""] = relay.files().filter((one) => one.endsWith(".envelope"));
  mkdirSync(join(relay.spool, `${name}.busy`));
  await leaveMail(relay, "second");
  await runOnce(relay);
  const sent = () => smarthost.messages.map(({ content }) => /Subject: (\S+)/.exec(content)?.[1]);
  assert.deepEqual(sent(), ["second"]);
  assert.match(relay.log, /cannot forward .*: cannot lock/);
  rmdirSync(join(relay.spool, `${name}.busy`));
  await runOnce(relay);
  assert.deepEqual(sent(), ["second", "first"]);
  assert.equal(await relay.end(), 0);
});

test("with --poll nobody has to ask: mail goes on when the fault has ended", { skip }, async () => {
  const smarthost = await openCatcher();
  const relay = await TestRelay.start([`--forward-to=${smarthost.address}`, "--poll=1"]);
  await sendMail(relay.port, { content: "Subject: late\r\n\r\nx" });
  const told = /cannot lock/;
  await forwardFailing(relay, { calls: ["rename"], ending: ".envelope", told }, "EROFS");
  await smarthost.caught(1);
  await until(() => relay.files().length === 0);
  assert.equal(smarthost.messages.length, 1);
});
