import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { newMessageId } from "../../src/core/message-id.ts";
import { delivery, EVENTS, id, logBench, note, peer } from "../support/log-bench.ts";

test("openLog() writes the text lines of each verbosity to standard error", async () => {
  const written = (verbosity: number) => {
    using at = logBench();
    const journal = at.open({ verbosity }).journal("");
    assert.equal(journal.detail, verbosity > 0);
    for (const event of EVENTS.slice(-12)) journal.tell(event);
    return at.lines().map((line) => line.replace("relayd: ", ""));
  };
  assert.equal(
    written(0).some((line) => line.includes("deleting envelope")),
    false,
  );
  assert.ok(written(1).includes(`info: deleting envelope [${id}.envelope.busy]`));
  assert.equal(written(1).includes("info: resolving mail:25"), false);
  assert.ok(written(2).includes("info: resolving mail:25"));
});

test("openLog() without --log writes nothing at all, not even errors", async () => {
  using at = logBench();
  const log = at.open({ enabled: false, file: join(at.directory, "file"), verbosity: 2 });
  log.journal("").tell(note("trouble", "error"));
  log.reopen();
  await log.close();
  assert.equal(log.journal("").detail, false);
  assert.deepEqual(readdirSync(at.directory), ["stderr"]);
  assert.deepEqual(at.lines(), []);
});

test("journal() names its unit, and lines of a forwarded message its id, when asked for", () => {
  using at = logBench();
  const log = at.open({ fields: ["unit", "msgid"], verbosity: 1 });
  const journal = log.journal("out");
  const routing = { selector: "", forwardTo: "", forwardToAddress: "" };
  journal.tell({ kind: "forward.message", id, ...routing });
  journal.tell({ kind: "smarthost.connected", peer, local: "" });
  journal.tell({ kind: "traffic", direction: "rx", peer, text: "220 hi" });
  journal.tell({ kind: "traffic", direction: "rx", peer: { ...peer, port: 1 }, text: "QUIT" });
  journal.tell({ kind: "message.queued", id, delivery });
  journal.tell({ kind: "traffic", direction: "tx", peer, text: "QUIT" });
  log.journal("").tell(note("plain"));
  const short = "9330.1795226071.1";
  assert.deepEqual(
    at.lines().map((line) => line.slice(0, 50)),
    [
      `relayd: info: [out] (${short}) forwarding`,
      `relayd: info: [out] (${short}) smtp conne`,
      `relayd: info: [out] (${short}) rx<<: "220`,
      'relayd: info: [out] rx<<: "QUIT"',
      `relayd: info: [out] (${short}) queued [em`,
      'relayd: info: [out] tx>>: "QUIT"',
      "relayd: info: plain",
    ],
  );
});

test("lines of a forwarded message bear its id though another was put back untried", () => {
  for (const kind of ["forward.skipped", "forward.abandoned"] as const) {
    using at = logBench();
    const journal = at.open({ fields: ["msgid"] }).journal("");
    const routing = { selector: "", forwardTo: "", forwardToAddress: "" };
    const other = newMessageId(1, 2, 3);
    journal.tell({ kind: "forward.message", id: other, ...routing });
    journal.tell({ kind, id: other, why: "left for another run" });
    journal.tell({ kind: "forward.message", id, ...routing });
    journal.tell({ kind: "smarthost.connected", peer, local: "" });
    assert.match(at.lines().join(""), /^relayd: info: \(9330\.1795226071\.1\) smtp connection/);
  }
});

test("no peer can write a second line or a terminal sequence into the log", () => {
  using at = logBench();
  const evil = "QUIT\r\nrelayd: info: all is well\u001b[2J\u009b2J\u2028x";
  for (const format of ["text", "json"] as const) {
    const journal = at.open({ format, verbosity: 1 }).journal("");
    journal.tell({ kind: "traffic", direction: "rx", peer, text: evil });
    journal.tell({ kind: "message.queued", id, delivery: { ...delivery, from: evil, to: [evil] } });
  }
  assert.equal(at.lines().length, 4);
  assert.doesNotMatch(at.lines().join(""), /[\p{Cc}\u2028]/u);
});

test("closeStderr() ends the lines on standard error but not those in the file", async () => {
  using at = logBench();
  const screen = at.open({});
  screen.journal("").tell(note("one"));
  screen.closeStderr();
  screen.journal("").tell(note("two", "error"));
  const log = at.open({ file: join(at.directory, "log") });
  log.closeStderr();
  log.journal("").tell(note("three"));
  await log.close();
  assert.deepEqual(at.lines(), ["relayd: info: one"]);
  assert.deepEqual(at.lines("log"), ["relayd: info: three"]);
});

test("stderrLevel keeps information off standard error, warnings and errors still come", () => {
  using at = logBench();
  const journal = at.open({ stderrLevel: "warnings" }).journal("");
  journal.tell(note("one"));
  journal.tell(note("two", "warning"));
  journal.tell(note("three", "error"));
  assert.deepEqual(at.lines(), ["relayd: warning: two", "relayd: error: three"]);
});
